"use strict";
(() => {
  const table = document.getElementById("table");
  const form = document.getElementById("filter");
  const words = document.getElementById("words");
  const stage = document.getElementById("stage");
  const count = document.getElementById("count");
  const rows = [...table.querySelectorAll("tr.row")].map((row) => ({
    row, text: row.textContent.toLowerCase(),
  }));

  function filter() {
    const wanted = new Set([...form.querySelectorAll("[name=status]:checked")].map((box) => box.value));
    const parts = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { row, text } of rows) {
      const fits = wanted.has(row.dataset.status)
        && (!stage.value || row.parentNode.dataset.stage === stage.value)
        && parts.every((part) => text.includes(part));
      row.hidden = !fits;
      shown += fits;
    }
    const narrowed = shown < rows.length;
    for (const body of table.tBodies) {
      body.hidden = narrowed && !body.querySelector("tr.row:not([hidden])");
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  }

  function key(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    const number = text === "" ? NaN : Number(text);
    return { text, number };
  }

  function compare(left, right) {
    const numbers = [left.number, right.number].map(Number.isNaN);
    if (!numbers[0] && !numbers[1]) return left.number - right.number;
    if (numbers[0] !== numbers[1]) return numbers[0] ? 1 : -1;
    return left.text.localeCompare(right.text, "en", { numeric: true });
  }

  function sort(header, column) {
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    for (const body of table.tBodies) {
      const keyed = [...body.querySelectorAll("tr.row")].map((row) => [key(row, column), row]);
      keyed.sort((a, b) => (down ? -1 : 1) * compare(a[0], b[0]));
      body.append(...keyed.map(([, row]) => row));
    }
  }

  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => sort(header, column));
  });
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();

  addEventListener("beforeprint", () => {
    document.querySelectorAll("#origin details").forEach((part) => { part.open = true; });
  });
})();
