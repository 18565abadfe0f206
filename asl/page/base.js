const ROWS_PER_PAGE = 15;
const MIN_ROWS_TO_FILTER = 9;
const NUMERIC_KINDS = new Set(["number", "bar", "share", "percent", "decimal"]);
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const integers = new Intl.NumberFormat("en");
const data = JSON.parse(document.getElementById("data").textContent);

// Children are appended as text, never parsed as HTML: names and URLs come from untrusted files.
function element(tag, attributes = {}, ...children) {
  const created = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) created.setAttribute(name, value);
  created.append(...children);
  return created;
}

function menu(label, values, onChange) {
  const select = element("select", {}, element("option", { value: "" }, "all"));
  values.forEach((value, i) => select.append(element("option", { value: String(i) }, value || "(none)")));
  select.addEventListener("change", () => onChange(select.value === "" ? null : values[Number(select.value)]));
  return element("label", {}, element("span", {}, label), select);
}

// ---------------------------------------------------------------- tables

const percent = (value) => (100 * value).toFixed(1) + " %";
const format = {
  number: (value) => integers.format(value),
  bar: (value) => integers.format(value),
  decimal: (value) => value.toFixed(2),
  share: percent,
  percent,
};

function text(kind, value) {
  if (value === null) return "–";
  return format[kind] && typeof value === "number" ? format[kind](value) : String(value);
}

function cell(column, value) {
  const content = text(column.kind, value);
  if (column.kind === "url" && /^https?:\/\//i.test(content)) {
    const link = element("a", { href: content, target: "_blank", rel: "noopener noreferrer nofollow", title: content });
    link.append(content.replace(/^https?:\/\/(www\.)?/i, ""));
    return [link];
  }
  if (column.kind === "url") return [element("span", { title: content }, content)];
  if (column.kind === "code") return [element("code", {}, content)];
  if (column.kind === "split" && content) return [element("span", { class: "dot " + content }, content)];
  if (column.kind === "flags") {
    return content.split(" ").filter(Boolean).flatMap((flag) => [element("span", { class: "flag " + flag }, flag), " "]);
  }
  if (column.kind === "bar" || column.kind === "share") {
    const max = column.kind === "share" ? 1 : column.max;
    const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("i"));
    bar.firstChild.style.width = (max > 0 && value !== null ? (100 * value) / max : 0) + "%";
    return [bar, content];
  }
  return [content];
}

class Table {
  constructor(container, name) {
    const packed = data.tables[name];
    this.columns = packed.columns;
    this.cells = packed.cells.map((cells) => (Array.isArray(cells) ? cells : cells.index.map((i) => cells.values[i])));
    this.columns.forEach((column, c) => {
      if (column.kind === "bar") column.max = this.cells[c].reduce((a, b) => Math.max(a, b), 0);
    });
    this.all = Array.from({ length: packed.length }, (_, row) => row);
    this.rows = this.all;
    this.page = 0;
    this.sorted = { column: -1, down: false };
    this.words = [];
    this.chosen = new Map(); // column index -> value that its menu filters for
    this.build(container, name, packed);
    this.draw();
  }

  build(container, name, packed) {
    const id = "caption-" + name;
    const caption = element("caption", { id }, packed.caption);
    const head = element("tr");
    this.headings = this.columns.map((column, c) => {
      const button = element("button", { type: "button" }, column.name, element("span", { class: "arrow", "aria-hidden": "true" }));
      if (column.tooltip) button.title = column.tooltip;
      button.addEventListener("click", () => this.sort(c));
      const heading = element("th", { scope: "col", class: "is-" + column.kind, "aria-sort": "none" }, button);
      head.append(heading);
      return heading;
    });
    this.body = element("tbody");
    this.count = element("span", { class: "count", role: "status" });
    this.tools = element("div", { class: "tools" });
    if (packed.length >= MIN_ROWS_TO_FILTER) {
      const input = element("input", { type: "search", placeholder: "words", autocomplete: "off", spellcheck: "false" });
      input.addEventListener("input", () => {
        this.words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
        this.filter();
      });
      this.tools.append(element("label", {}, element("span", {}, "Filter"), input));
      this.columns.forEach((column, c) => {
        const values = column.menu ? [...new Set(this.cells[c])].sort(collator.compare) : [];
        if (values.length < 2) return;
        this.tools.append(menu(column.name, values, (value) => {
          if (value === null) this.chosen.delete(c);
          else this.chosen.set(c, value);
          this.filter();
        }));
      });
      this.tools.append(this.count);
    }
    const previous = element("button", { type: "button" }, "Previous");
    const next = element("button", { type: "button" }, "Next");
    previous.addEventListener("click", () => this.changePage(-1));
    next.addEventListener("click", () => this.changePage(1));
    this.range = element("span", { role: "status" });
    this.pages = element("div", { class: "pages" }, previous, this.range, next);
    this.previous = previous;
    this.next = next;
    const box = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": id });
    box.append(element("table", {}, caption, element("thead", {}, head), this.body));
    container.append(this.tools, box, this.pages);
    if (packed.leftOut) {
      container.append(element("p", { class: "muted" }, `${integers.format(packed.leftOut)} more are in ${packed.fullList}.`));
    }
  }

  // The lower-case text of a row, which the filter searches.
  line(row) {
    this.lines ??= [];
    return (this.lines[row] ??= this.columns.map((column, c) => text(column.kind, this.cells[c][row])).join("\t").toLowerCase());
  }

  filter() {
    const chosen = [...this.chosen];
    this.rows = this.all.filter(
      (row) =>
        chosen.every(([c, value]) => this.cells[c][row] === value) &&
        this.words.every((word) => this.line(row).includes(word)),
    );
    this.page = 0;
    this.draw();
  }

  sort(c) {
    const numbers = NUMERIC_KINDS.has(this.columns[c].kind);
    const down = this.sorted.column === c ? !this.sorted.down : numbers; // numbers start with the largest
    this.sorted = { column: c, down };
    const cells = this.cells[c];
    const compare = numbers ? (a, b) => a - b : (a, b) => collator.compare(a, b);
    const sign = down ? -1 : 1;
    // Unknown values come last in both directions.
    const order = (a, b) => {
      if (cells[a] === null || cells[b] === null) return (cells[a] === null) - (cells[b] === null) || a - b;
      return sign * compare(cells[a], cells[b]) || a - b;
    };
    this.all = [...this.all].sort(order);
    this.headings.forEach((heading, i) => {
      heading.setAttribute("aria-sort", i === c ? (down ? "descending" : "ascending") : "none");
    });
    this.filter();
  }

  changePage(by) {
    this.page += by;
    this.draw();
  }

  draw() {
    const from = this.page * ROWS_PER_PAGE;
    const rows = this.rows.slice(from, from + ROWS_PER_PAGE);
    this.body.replaceChildren(
      ...rows.map((row) => {
        const line = element("tr");
        this.columns.forEach((column, c) => line.append(element("td", { class: "is-" + column.kind }, ...cell(column, this.cells[c][row]))));
        return line;
      }),
    );
    if (!rows.length) this.body.append(element("tr", {}, element("td", { colspan: this.columns.length, class: "is-none" }, "No row matches the filters.")));
    const of = integers.format(this.all.length);
    this.count.textContent = this.rows.length < this.all.length ? `${integers.format(this.rows.length)} of ${of} rows` : `${of} rows`;
    this.range.textContent = `${integers.format(from + 1)} to ${integers.format(from + rows.length)} of ${integers.format(this.rows.length)}`;
    this.pages.hidden = this.rows.length <= ROWS_PER_PAGE;
    this.previous.disabled = from === 0;
    this.next.disabled = from + ROWS_PER_PAGE >= this.rows.length;
  }
}

for (const container of document.querySelectorAll("[data-table]")) new Table(container, container.dataset.table);

// ---------------------------------------------------------------- charts

for (const chart of document.querySelectorAll("[data-chart]")) {
  const labels = data.charts[chart.dataset.chart];
  const svg = chart.querySelector("svg");
  const mark = chart.querySelector(".mark");
  const readout = chart.querySelector(".readout");
  let selected = -1;
  const select = (bar) => {
    selected = Math.min(Math.max(bar, 0), labels.length - 1);
    mark.setAttribute("x", selected);
    readout.textContent = labels[selected];
    svg.setAttribute("aria-valuenow", selected + 1);
    svg.setAttribute("aria-valuetext", labels[selected]);
  };
  const selectUnderPointer = (event) => {
    const box = svg.getBoundingClientRect();
    select(Math.floor(((event.clientX - box.left) / box.width) * labels.length));
  };
  svg.addEventListener("pointermove", selectUnderPointer);
  svg.addEventListener("pointerdown", selectUnderPointer);
  svg.addEventListener("focus", () => selected < 0 && select(0));
  svg.addEventListener("keydown", (event) => {
    const barOf = { ArrowLeft: selected - 1, ArrowDown: selected - 1, ArrowRight: selected + 1, ArrowUp: selected + 1, Home: 0, End: labels.length - 1 };
    if (!(event.key in barOf)) return;
    event.preventDefault();
    select(barOf[event.key]);
  });
}
