// A grid of thumbnails from which several can be chosen, by mouse, touch or keyboard; each opens large.
const TELL_AFTER_MS = 150;

export default function ({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector('.picker');
  const shown = JSON.stringify(data);
  if (root.shown !== shown) {
    root.shown = shown;
    build(root, data, (paths) => setStateValue('chosen', paths));
  }
}

function build(root, { items, chosen }, tell) {
  const grid = root.querySelector('.grid');
  const dialog = root.querySelector('dialog');
  const picked = new Set(chosen);
  let anchor = 0, timer = null, group = null;
  grid.replaceChildren();
  const tiles = items.map((item, index) => {
    if (item.group !== undefined && item.group !== group) {
      group = item.group;
      grid.append(made('p', 'group', item.group));
    }
    const tile = made('div', item.aside ? 'tile aside' : 'tile');
    tile.setAttribute('role', 'option');
    tile.setAttribute('aria-label', item.alt);
    tile.tabIndex = index ? -1 : 0;
    const image = made('img');
    image.src = item.thumbnail;
    image.alt = '';
    image.loading = 'lazy';
    image.onerror = () => { image.alt = 'This picture cannot be shown'; };
    const open = made('button', 'open', '⤢');
    open.type = 'button';
    open.tabIndex = -1;
    open.title = 'Large view';
    open.setAttribute('aria-label', `Large view of ${item.alt}`);
    open.onclick = (event) => {
      event.stopPropagation();
      enlarge(item);
    };
    tile.append(image, made('span', 'tick'), open, made('p', 'caption', item.caption));
    tile.onclick = (event) => (event.shiftKey ? range(index) : toggle(index));
    tile.ondblclick = () => enlarge(item);
    tile.onkeydown = (event) => key(event, index);
    grid.append(tile);
    return tile;
  });
  root.querySelector('.hint').textContent =
    items.length > 1 ? 'Space chooses, Shift extends, Ctrl+A takes all of this page, Enter shows it large, Escape lets go.' : '';
  mark();

  function mark() {
    tiles.forEach((tile, index) => tile.setAttribute('aria-selected', picked.has(items[index].path)));
  }
  function changed() {
    mark();
    clearTimeout(timer);
    timer = setTimeout(() => tell(items.map((item) => item.path).filter((path) => picked.has(path))), TELL_AFTER_MS);
  }
  function toggle(index) {
    const { path } = items[index];
    if (!picked.delete(path)) picked.add(path);
    anchor = index;
    focus(index);
    changed();
  }
  function range(index) {
    const [from, to] = [Math.min(anchor, index), Math.max(anchor, index)];
    items.slice(from, to + 1).forEach((item) => picked.add(item.path));
    focus(index);
    changed();
  }
  function focus(index) {
    tiles.forEach((tile, at) => { tile.tabIndex = at === index ? 0 : -1; });
    tiles[index].focus();
  }
  function columns() {
    const top = tiles[0].offsetTop;
    const next = tiles.findIndex((tile) => tile.offsetTop !== top);
    return next < 0 ? tiles.length : next;
  }
  function key(event, index) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() }[event.key];
    if (step !== undefined) {
      const to = Math.min(Math.max(index + step, 0), items.length - 1);
      if (event.shiftKey) range(to);
      else focus(to);
    } else if (event.key === ' ') toggle(index);
    else if (event.key === 'Enter') enlarge(items[index]);
    else if (event.key === 'Escape') {
      picked.clear();
      changed();
    } else if (event.key.toLowerCase() === 'a' && (event.ctrlKey || event.metaKey)) {
      items.forEach((item) => picked.add(item.path));
      changed();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
  function enlarge(item) {
    const large = dialog.querySelector('.large');
    large.src = item.preview;
    large.alt = item.alt;
    dialog.querySelector('.large-caption').textContent = `${item.caption}\n${item.path}`;
    dialog.showModal();
  }
}

function made(tag, className = '', text = '') {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}
