// One photo after the other, each labelled by a key or a press; all that was said is told a moment later.
const TELL_AFTER_MS = 350;
const KEYS = 9;
const MOST_BUTTONS = 24;
const AHEAD = 3; // photos that are fetched before they are shown

export default function ({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector('.label');
  root.given = data;
  root.tell = (said) => setStateValue('said', said);
  if (!root.drawn) begin(root);
  root.drawn();
  addEventListener('keydown', root.pressed);
  return () => {
    removeEventListener('keydown', root.pressed);
    root.end();
  };
}

function begin(root) {
  const part = (name) => root.querySelector(`.${name}`);
  const said = {}; // by path: a class, '' for none of these, null where it was taken back
  let order = []; // paths that were said, the newest last
  let later = [];
  let current = null, timer = 0;

  part('none').onclick = () => say('');
  part('later').onclick = skip;
  part('undo').onclick = undo;
  part('other').onsubmit = (event) => {
    event.preventDefault();
    const name = part('name').value.trim();
    if (!name) return;
    part('name').value = '';
    part('photo').focus();
    say(name);
  };
  root.drawn = draw;
  root.end = () => {
    clearTimeout(timer);
    if (timer) root.tell({ ...said });
  };
  root.pressed = (event) => {
    const field = event.composedPath()[0];
    const elsewhere = /^(INPUT|TEXTAREA|SELECT)$/.test(field?.tagName || '') || field?.isContentEditable;
    if (elsewhere || event.ctrlKey || event.metaKey || event.altKey || root.offsetParent === null) return;
    const place = Number(event.key);
    if (event.key === '0') say('');
    else if (place >= 1 && place <= KEYS && root.given.classes[place - 1] !== undefined) say(root.given.classes[place - 1]);
    else if (event.key === 'Enter' && field?.tagName !== 'BUTTON' && current?.proposals.length) say(current.proposals[0][0]);
    else if (event.key === 'ArrowRight') skip();
    else if (event.key === 'ArrowLeft' || event.key === 'Backspace') undo();
    else return;
    event.preventDefault();
  };

  function waiting() {
    const open = root.given.photos.filter(({ path }) => typeof said[path] !== 'string');
    const put = new Set(later);
    return [...open.filter(({ path }) => !put.has(path)), ...later.map((path) => open.find((one) => one.path === path)).filter(Boolean)];
  }
  function draw() {
    const open = waiting();
    current = open[0] || null;
    const { classes, left } = root.given;
    const guess = current?.proposals || [];
    const image = part('large');
    image.hidden = !current;
    if (current && image.src !== new URL(current.preview, document.baseURI).href) image.src = current.preview;
    image.alt = current ? current.path : '';
    part('over').textContent = current ? '' : left ? 'Bringing more photos' : 'Every photo here has been looked at.';
    part('guess').textContent = guess.length
      ? `The model says ${guess.map(([name, prob]) => `${name} ${(100 * prob).toFixed(0)} %`).join(', ')}.`
      : '';
    part('classes').replaceChildren(
      ...classes.slice(0, MOST_BUTTONS).map((name, index) => {
        const button = document.createElement('button');
        button.type = 'button';
        if (index < KEYS) button.append(Object.assign(document.createElement('kbd'), { textContent: index + 1 }));
        button.append(` ${name}`);
        button.classList.toggle('guessed', guess[0]?.[0] === name);
        button.disabled = !current;
        button.onclick = () => say(name);
        return button;
      }),
    );
    part('name').parentNode.querySelector('datalist').replaceChildren(
      ...classes.map((name) => Object.assign(document.createElement('option'), { value: name })),
    );
    for (const name of ['none', 'later']) part(name).disabled = !current;
    part('undo').disabled = !order.length;
    const done = order.length;
    part('count').textContent = `${done.toLocaleString('en')} labelled here${order.length ? `, the last as ${said[order.at(-1)] || 'none of these'}` : ''}`;
    for (const { preview } of open.slice(1, 1 + AHEAD)) new Image().src = preview;
  }
  function say(name) {
    if (!current) return;
    said[current.path] = name;
    order = [...order.filter((path) => path !== current.path), current.path];
    later = later.filter((path) => path !== current.path);
    changed();
  }
  function skip() {
    if (!current) return;
    later = [...later.filter((path) => path !== current.path), current.path];
    draw();
  }
  function undo() {
    const path = order.pop();
    if (path === undefined) return;
    said[path] = null;
    later = later.filter((one) => one !== path);
    changed();
    const again = root.given.photos.find((one) => one.path === path);
    if (again) {
      root.given.photos = [again, ...root.given.photos.filter((one) => one.path !== path)];
      draw();
    }
  }
  function changed() {
    draw();
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = 0;
      root.tell({ ...said });
    }, TELL_AFTER_MS);
  }
}
