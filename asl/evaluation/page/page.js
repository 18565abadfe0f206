
// ---------------------------------------------------------------- confusion matrix

{
  const { glosses, clips, cells } = data.matrix;
  const count = new Map();
  for (let i = 0; i < cells.length; i += 3) count.set(cells[i] * glosses.length + cells[i + 1], cells[i + 2]);

  const figure = document.getElementById("matrix");
  const svg = figure.querySelector("svg");
  const mark = figure.querySelector(".selected");
  const readout = figure.querySelector(".readout");
  const MIN_NAME_HEIGHT = 13; // pixels of a cell whose gloss is named
  const LEAST = Math.min(glosses.length, 5); // cells in the picture at the largest scale
  const view = { row: 0, column: 0, size: glosses.length }; // of the picture, in cells
  const selected = { row: 0, column: 0 };

  const within = (value, low, high) => Math.min(Math.max(value, low), high);

  function draw() {
    view.size = within(view.size, LEAST, glosses.length);
    view.row = within(view.row, 0, glosses.length - view.size);
    view.column = within(view.column, 0, glosses.length - view.size);
    svg.setAttribute("viewBox", `${view.column} ${view.row} ${view.size} ${view.size}`);
    svg.classList.toggle("zoomed", view.size < glosses.length);
    drawNames(figure.querySelector(".rows"), "top", view.row);
    drawNames(figure.querySelector(".names"), "left", view.column);
  }

  function drawNames(box, edge, first) {
    const names = [];
    if (svg.clientWidth / view.size >= MIN_NAME_HEIGHT) {
      for (let i = Math.ceil(first - 0.5); i + 0.5 <= first + view.size && i < glosses.length; i++) {
        const name = element("span", { title: glosses[i] }, glosses[i]);
        name.style[edge] = (100 * (i + 0.5 - first)) / view.size + "%";
        names.push(name);
      }
    }
    box.replaceChildren(...names);
  }

  function select(row, column) {
    selected.row = within(row, 0, glosses.length - 1);
    selected.column = within(column, 0, glosses.length - 1);
    mark.setAttribute("x", selected.column);
    mark.setAttribute("y", selected.row);
    const [gloss, taken] = [glosses[selected.row], glosses[selected.column]].map((name) => element("bdi", {}, name));
    const all = clips[selected.row];
    const some = count.get(selected.row * glosses.length + selected.column) ?? 0;
    const share = all ? `${integers.format(some)} of ${integers.format(all)} clips (${percent(some / all)})` : "no clips";
    if (selected.row === selected.column) readout.replaceChildren(gloss, ` right: ${share}`);
    else readout.replaceChildren(gloss, " taken for ", taken, `: ${share}`);
  }

  function show() {
    view.row = within(view.row, selected.row + 1 - view.size, selected.row);
    view.column = within(view.column, selected.column + 1 - view.size, selected.column);
    draw();
  }

  // Row and column under the pointer, with fractions.
  function under(event) {
    const box = svg.getBoundingClientRect();
    return {
      row: view.row + ((event.clientY - box.top) / box.height) * view.size,
      column: view.column + ((event.clientX - box.left) / box.width) * view.size,
    };
  }

  // The point stays where it is in the picture.
  function zoom(factor, point) {
    const size = within(view.size * factor, LEAST, glosses.length);
    view.row = point.row - ((point.row - view.row) * size) / view.size;
    view.column = point.column - ((point.column - view.column) * size) / view.size;
    view.size = size;
    draw();
  }

  function showAll() {
    view.size = glosses.length;
    draw();
  }

  const middle = () => ({ row: view.row + view.size / 2, column: view.column + view.size / 2 });
  const pointers = new Map(); // that are down, by their id
  const spread = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  };

  svg.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event);
    svg.setPointerCapture(event.pointerId);
    const at = under(event);
    select(Math.floor(at.row), Math.floor(at.column));
  });
  svg.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) {
      const at = under(event);
      select(Math.floor(at.row), Math.floor(at.column));
      return;
    }
    if (pointers.size === 2) {
      const distance = spread();
      pointers.set(event.pointerId, event);
      zoom(distance / spread(), middle());
      return;
    }
    const [from, to] = [under(before), under(event)];
    pointers.set(event.pointerId, event);
    view.row += from.row - to.row;
    view.column += from.column - to.column;
    draw();
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, (event) => pointers.delete(event.pointerId));
  svg.addEventListener("dblclick", (event) => zoom(0.5, under(event)));
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    zoom(Math.exp(event.deltaY / 200), under(event));
  }, { passive: false });
  svg.addEventListener("focus", () => select(selected.row, selected.column));
  svg.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const at = { row: selected.row + 0.5, column: selected.column + 0.5 };
    if (event.key in moves) {
      select(selected.row + moves[event.key][0], selected.column + moves[event.key][1]);
      show();
    } else if (event.key === "+" || event.key === "=") zoom(0.5, at);
    else if (event.key === "-") zoom(2, at);
    else if (event.key === "0") showAll();
    else return;
    event.preventDefault();
  });

  const button = (label, onClick) => {
    const created = element("button", { type: "button" }, label);
    created.addEventListener("click", onClick);
    return created;
  };
  figure.querySelector(".tools").append(
    button("Zoom in", () => zoom(0.5, middle())),
    button("Zoom out", () => zoom(2, middle())),
    button("All", showAll),
    menu("Gloss", glosses, (gloss) => {
      if (gloss === null) return showAll();
      const row = glosses.indexOf(gloss);
      const taken = glosses.map((_, column) => count.get(row * glosses.length + column) ?? 0);
      select(row, taken.indexOf(Math.max(...taken)));
      view.size = Math.min(view.size, 25);
      view.row = selected.row + 0.5 - view.size / 2;
      view.column = selected.column + 0.5 - view.size / 2;
      draw();
    }),
  );
  new ResizeObserver(draw).observe(svg);
}

// ---------------------------------------------------------------- clips that went wrong

for (const film of document.querySelectorAll(".film")) {
  const frames = Number(film.dataset.frames);
  const button = film.querySelector("button");
  const position = film.querySelector(".position");
  let frame = Math.floor(frames / 2);
  let timer = null;
  const step = (by) => {
    frame = (frame + by + frames) % frames;
    film.style.setProperty("--frame", frame);
    position.textContent = `${frame + 1} / ${frames}`;
  };
  const play = (on) => {
    clearInterval(timer);
    timer = on ? setInterval(step, 1000 * Number(film.dataset.seconds), 1) : null;
    button.setAttribute("aria-pressed", String(on));
  };
  button.addEventListener("click", () => {
    if (timer === null) step(-frame); // from the first frame
    play(timer === null);
  });
  button.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    play(false);
    step(event.key === "ArrowRight" ? 1 : -1);
  });
  step(0);
}
