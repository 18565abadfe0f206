"use strict";
(() => {
  const ROWS_A_PAGE = 15;
  const SEARCH_FROM = 9; // shorter tables are seen whole
  const NUMBERS = new Set(["number", "bar", "share", "decimal"]);
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const whole = new Intl.NumberFormat("en");
  const data = JSON.parse(document.getElementById("data").textContent);

  // Text is always set as text, never as HTML: names and URLs are whatever others made them.
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function menu(label, values, onChange) {
    const select = element("select", {}, element("option", { value: "" }, "all"));
    values.forEach((value, i) => select.append(element("option", { value: String(i) }, value || "(none)")));
    select.addEventListener("change", () => onChange(select.value === "" ? null : values[Number(select.value)]));
    return element("label", {}, element("span", {}, label), select);
  }

  // ---------------------------------------------------------------- tables

  const shown = {
    number: (value) => whole.format(value),
    bar: (value) => whole.format(value),
    decimal: (value) => value.toFixed(2),
    share: (value) => (100 * value).toFixed(1) + " %",
  };

  function text(kind, value) {
    if (value === null) return "–";
    return shown[kind] && typeof value === "number" ? shown[kind](value) : String(value);
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
    if (column.kind === "split" && content) return [element("span", { class: "split " + content }, content)];
    if (column.kind === "flags") {
      return content.split(" ").filter(Boolean).flatMap((flag) => [element("span", { class: "flag " + flag }, flag), " "]);
    }
    if (column.kind === "bar" || column.kind === "share") {
      const most = column.kind === "share" ? 1 : column.most;
      const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("i"));
      bar.firstChild.style.width = (most > 0 && value !== null ? (100 * value) / most : 0) + "%";
      return [bar, content];
    }
    return [content];
  }

  class Table {
    constructor(place, name) {
      const packed = data.tables[name];
      this.columns = packed.columns;
      this.cells = packed.cells.map((one) => (Array.isArray(one) ? one : one.index.map((i) => one.values[i])));
      this.columns.forEach((column, c) => {
        if (column.kind === "bar") column.most = this.cells[c].reduce((a, b) => Math.max(a, b), 0);
      });
      this.all = Array.from({ length: packed.length }, (_, row) => row);
      this.rows = this.all;
      this.page = 0;
      this.sorted = { column: -1, down: false };
      this.words = [];
      this.chosen = new Map(); // column -> the value that its menu asks for
      this.build(place, name, packed);
      this.draw();
    }

    build(place, name, packed) {
      const id = "caption-" + name;
      const caption = element("caption", { id }, packed.caption);
      const head = element("tr");
      this.headings = this.columns.map((column, c) => {
        const button = element("button", { type: "button" }, column.name, element("span", { class: "arrow", "aria-hidden": "true" }));
        if (column.about) button.title = column.about;
        button.addEventListener("click", () => this.sort(c));
        const heading = element("th", { scope: "col", class: "is-" + column.kind, "aria-sort": "none" }, button);
        head.append(heading);
        return heading;
      });
      this.body = element("tbody");
      this.count = element("span", { class: "count", role: "status" });
      this.tools = element("div", { class: "tools" });
      if (packed.length >= SEARCH_FROM) {
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
      previous.addEventListener("click", () => this.turn(-1));
      next.addEventListener("click", () => this.turn(1));
      this.range = element("span", { role: "status" });
      this.pages = element("div", { class: "pages" }, previous, this.range, next);
      this.previous = previous;
      this.next = next;
      const box = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": id });
      box.append(element("table", {}, caption, element("thead", {}, head), this.body));
      place.append(this.tools, box, this.pages);
      if (packed.leftOut) {
        place.append(element("p", { class: "muted" }, `${whole.format(packed.leftOut)} more are in ${packed.fullList}.`));
      }
    }

    // One lower-case line a row, made when it is first asked for.
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
      const numbers = NUMBERS.has(this.columns[c].kind);
      const first = numbers; // the largest number, but the first of the alphabet
      const down = this.sorted.column === c ? !this.sorted.down : first;
      this.sorted = { column: c, down };
      const cells = this.cells[c];
      const compare = numbers ? (a, b) => a - b : (a, b) => collator.compare(a, b);
      const sign = down ? -1 : 1;
      // What is not known stands last, whichever way.
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

    turn(by) {
      this.page += by;
      this.draw();
    }

    draw() {
      const from = this.page * ROWS_A_PAGE;
      const rows = this.rows.slice(from, from + ROWS_A_PAGE);
      this.body.replaceChildren(
        ...rows.map((row) => {
          const line = element("tr");
          this.columns.forEach((column, c) => line.append(element("td", { class: "is-" + column.kind }, ...cell(column, this.cells[c][row]))));
          return line;
        }),
      );
      if (!rows.length) this.body.append(element("tr", {}, element("td", { colspan: this.columns.length, class: "is-none" }, "No row has all of this.")));
      const of = whole.format(this.all.length);
      this.count.textContent = this.rows.length < this.all.length ? `${whole.format(this.rows.length)} of ${of} rows` : `${of} rows`;
      this.range.textContent = `${whole.format(from + 1)} to ${whole.format(from + rows.length)} of ${whole.format(this.rows.length)}`;
      this.pages.hidden = this.rows.length <= ROWS_A_PAGE;
      this.previous.disabled = from === 0;
      this.next.disabled = from + ROWS_A_PAGE >= this.rows.length;
    }
  }

  for (const place of document.querySelectorAll("[data-table]")) new Table(place, place.dataset.table);

  // ---------------------------------------------------------------- charts

  for (const chart of document.querySelectorAll("[data-chart]")) {
    const labels = data.charts[chart.dataset.chart];
    const svg = chart.querySelector("svg");
    const mark = chart.querySelector(".mark");
    const readout = chart.querySelector(".readout");
    let at = -1;
    const go = (bar) => {
      at = Math.min(Math.max(bar, 0), labels.length - 1);
      mark.setAttribute("x", at);
      readout.textContent = labels[at];
      svg.setAttribute("aria-valuenow", at + 1);
      svg.setAttribute("aria-valuetext", labels[at]);
    };
    const point = (event) => {
      const box = svg.getBoundingClientRect();
      go(Math.floor(((event.clientX - box.left) / box.width) * labels.length));
    };
    svg.addEventListener("pointermove", point);
    svg.addEventListener("pointerdown", point);
    svg.addEventListener("focus", () => at < 0 && go(0));
    svg.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: labels.length - 1 };
      if (!(event.key in to)) return;
      event.preventDefault();
      go(to[event.key]);
    });
  }

  // ---------------------------------------------------------------- contact sheet

  const tools = document.getElementById("sheet-tools");
  if (tools) {
    const clips = [...document.querySelectorAll(".sheet .clip")];
    const wanted = { gloss: null, split: null };
    const count = element("span", { class: "count", role: "status" });
    const show = () => {
      let visible = 0;
      for (const clip of clips) {
        clip.hidden = Object.entries(wanted).some(([key, value]) => value !== null && clip.dataset[key] !== value);
        visible += !clip.hidden;
      }
      count.textContent = visible < clips.length ? `${visible} of ${clips.length} clips` : `${clips.length} clips`;
    };
    for (const [label, key] of [["Gloss", "gloss"], ["Split", "split"]]) {
      const values = [...new Set(clips.map((clip) => clip.dataset[key]))].sort(collator.compare);
      tools.append(menu(label, values, (value) => {
        wanted[key] = value;
        show();
      }));
    }
    tools.append(count);
    show();
  }
})();
