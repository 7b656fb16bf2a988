"use strict";
// The page is complete without this file: it adds sorting, opens what a link points into, and shows what can be scrolled.

const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();

const compare = (a, b) => {
  const [x, y] = [Number(a), Number(b)];
  return a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y) ? x - y : a.localeCompare(b, "en");
};

// Missing values stay last in both directions; rows that compare equal keep their order.
function sort(table, column, direction) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [row, value(row, column)]);
  rows.sort(([, a], [, b]) => (a === "") - (b === "") || direction * compare(a, b));
  body.append(...rows.map(([row]) => row));
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const first = head.dataset.first === "descending" ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const next = head.getAttribute("aria-sort") === first ? second : first;
      heads.forEach((other) => other.setAttribute("aria-sort", other === head ? next : "none"));
      sort(table, column, next === "ascending" ? 1 : -1);
    });
  });
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  target.scrollIntoView();
}

// A table that goes on beyond the edge of its frame shows it, until its end is reached.
function showEdge(frame) {
  const update = () => frame.classList.toggle("more", frame.scrollWidth - frame.clientWidth - frame.scrollLeft > 1);
  frame.addEventListener("scroll", update, { passive: true });
  new ResizeObserver(update).observe(frame);
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll(".frame").forEach(showEdge);
window.addEventListener("hashchange", openTarget);
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => (d.open = true)));
if (location.hash) openTarget();
