
// ---------------------------------------------------------------- contact sheet

const tools = document.getElementById("sheet-tools");
if (tools) {
  const clips = [...document.querySelectorAll(".sheet .clip")];
  const chosen = { gloss: null, split: null };
  const count = element("span", { class: "count", role: "status" });
  const show = () => {
    let visible = 0;
    for (const clip of clips) {
      clip.hidden = Object.entries(chosen).some(([key, value]) => value !== null && clip.dataset[key] !== value);
      visible += !clip.hidden;
    }
    count.textContent = visible < clips.length ? `${visible} of ${clips.length} clips` : `${clips.length} clips`;
  };
  for (const [label, key] of [["Gloss", "gloss"], ["Split", "split"]]) {
    const values = [...new Set(clips.map((clip) => clip.dataset[key]))].sort(collator.compare);
    tools.append(menu(label, values, (value) => {
      chosen[key] = value;
      show();
    }));
  }
  tools.append(count);
  show();
}
