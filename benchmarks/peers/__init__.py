"""Our attacks beside those of other libraries, on the same nets and images, judged by one judge."""
