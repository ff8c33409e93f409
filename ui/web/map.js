// Thousands of photos as marks in the plane: hover shows one, dragging chooses many. See ui/web/maps.py for the data.
const COLOURS = {
  light: ['#0072b2', '#d55e00', '#009e73', '#b0569b', '#9a7500', '#3d9ad1', '#6b4fa0', '#5c6b73'],
  dark: ['#56b4e9', '#f08a4b', '#35c79b', '#e39ad0', '#e6c229', '#9ad1f5', '#b39ddb', '#b6c2c9'],
};
const SHAPES = [
  (x, y) => x * x + y * y <= 1,
  (x, y) => Math.abs(x) <= 0.85 && Math.abs(y) <= 0.85,
  (x, y) => y <= 0.8 && y >= 2.1 * Math.abs(x) - 1.1,
  (x, y) => Math.abs(x) + Math.abs(y) <= 1.2,
  (x, y) => Math.min(Math.abs(x), Math.abs(y)) <= 0.36,
];
const PATHS = [
  '<circle cx="7" cy="7" r="5.2"/>',
  '<path d="M2.4 2.4h9.2v9.2H2.4z"/>',
  '<path d="M7 1.5 12.4 11.6H1.6z"/>',
  '<path d="M7 .8 13.2 7 7 13.2.8 7z"/>',
  '<path d="M5.1 1.6h3.8v3.5h3.5v3.8H8.9v3.5H5.1V8.9H1.6V5.1h3.5z"/>',
];
const SPLITS = { train: 'learnt from', valid: 'checked on', test: 'test', fold: 'held back' };
const NEAR = 14; // CSS pixels from a mark that still count as on it
const MOST_ZOOM = 60;
const KEY_STEP = 1.4;
const loaded = new Map(); // by address: the photos, and how they were last looked at

export default function ({ parentElement, data, setStateValue }) {
  const root = parentElement.querySelector('.map');
  root.given = data;
  root.tell = (paths) => setStateValue('chosen', paths);
  if (!root.drawn) begin(root);
  else root.drawn();
  return () => root.end?.();
}

async function begin(root) {
  const part = (name) => root.querySelector(`.${name}`);
  const { url } = root.given;
  root.drawn = () => {};
  if (!loaded.has(url)) {
    const answer = await fetch(url).catch(() => null);
    if (!answer?.ok) {
      part('busy').textContent = 'The map could not be loaded. Reload the page.';
      return;
    }
    if (loaded.size > 3) loaded.delete(loaded.keys().next().value);
    loaded.set(url, { photos: await answer.json(), view: { zoom: 1, x: 0.5, y: 0.5 }, colour: 'label', mode: 'lasso' });
  }
  part('busy').textContent = '';
  show(root, loaded.get(url), part);
}

function show(root, kept, part) {
  const { photos, view } = kept;
  const total = photos.path.length;
  const X = Float32Array.from(photos.x), Y = Float32Array.from(photos.y);
  const spread = [X, Y].map((axis) => Math.max(0.05, axis.reduce((a, b) => Math.max(a, b), 0) - axis.reduce((a, b) => Math.min(a, b), 1)));
  const screenX = new Float32Array(total), screenY = new Float32Array(total);
  const picked = new Set();
  const [points, over, field, card] = ['points', 'over', 'field', 'card'].map(part);
  const dark = isDark(root);
  let width = 0, height = 0, ratio = 1, image = null, pixels = null, frame = 0, groups = null, only = null, at = -1, timer = 0;
  let lit = () => true, litCount = null;

  part('colour').value = kept.colour;
  setMode(kept.mode);
  part('colour').onchange = () => {
    kept.colour = part('colour').value;
    only = null;
    regroup();
  };
  part('lasso').onclick = () => setMode('lasso');
  part('move').onclick = () => setMode('move');
  part('closer').onclick = () => zoom(KEY_STEP);
  part('farther').onclick = () => zoom(1 / KEY_STEP);
  part('whole').onclick = () => {
    Object.assign(view, { zoom: 1, x: 0.5, y: 0.5 });
    redraw();
  };
  part('none').onclick = () => choose([], 'instead');
  part('lit').onclick = () => choose(every().filter(lit), 'instead');
  root.drawn = given;
  const sized = new ResizeObserver(resize);
  sized.observe(field);
  root.end = () => {
    sized.disconnect();
    cancelAnimationFrame(frame);
    clearTimeout(timer);
  };
  regroup();
  given();
  resize();

  // What the page says: which cell of the matrix is looked at, and what is to become of photos.
  function given() {
    const { cell } = root.given;
    lit = cell
      ? (i) => photos.split[i] === 'valid' && photos.label[i] === cell[0] && photos.predicted[i] === cell[1]
      : () => true;
    litCount = cell ? every().filter(lit).length : null;
    part('lit').hidden = !litCount;
    part('lit').textContent = `Choose the ${counted(litCount || 0)} of this cell`;
    redraw();
  }
  function every() {
    return Array.from({ length: total }, (_, i) => i);
  }

  function regroup() {
    const by = kept.colour;
    const value = {
      label: (i) => photos.label[i],
      predicted: (i) => photos.predicted[i],
      error: (i) => (photos.label[i] === photos.predicted[i] ? 'right' : 'wrong'),
      split: (i) => photos.split[i],
    }[by];
    const names = {
      label: () => [...new Set([...photos.classes, ...photos.label])],
      predicted: () => photos.classes,
      error: () => ['right', 'wrong'],
      split: () => Object.keys(SPLITS).filter((split) => photos.split.includes(split)),
    }[by]();
    const place = new Map(names.map((name, index) => [name, index]));
    const palette = COLOURS[dark ? 'dark' : 'light'];
    const of = new Uint16Array(total);
    const counts = new Array(names.length).fill(0);
    for (let i = 0; i < total; i++) counts[(of[i] = place.get(value(i)))]++;
    const kind = (index) => {
      if (by === 'error') return index ? { colour: palette[1], shape: 2 } : { colour: palette[0], shape: 0 };
      return { colour: palette[index % palette.length], shape: Math.floor(index / palette.length) % SHAPES.length };
    };
    groups = { of, kinds: names.map((name, index) => ({ name, count: counts[index], ...kind(index) })) };
    const legend = part('legend');
    legend.replaceChildren(
      ...groups.kinds.map((one, index) => {
        const button = document.createElement('button');
        button.type = 'button';
        const name = document.createElement('span');
        name.textContent = `${by === 'split' ? SPLITS[one.name] : one.name} (${one.count.toLocaleString('en')})`;
        button.innerHTML = `<svg viewBox="0 0 14 14" width="13" height="13" fill="${one.colour}" aria-hidden="true">${PATHS[one.shape]}</svg>`;
        button.append(name);
        button.setAttribute('aria-pressed', 'false');
        button.onclick = () => {
          only = only === index ? null : index;
          [...legend.children].forEach((child, at) => child.setAttribute('aria-pressed', only === at));
          redraw();
        };
        return button;
      }),
    );
    const wrong = photos.label.filter((label, i) => label !== photos.predicted[i]).length;
    points.setAttribute(
      'aria-label',
      `${counted(total)} as marks, alike ones near to each other; ${wrong.toLocaleString('en')} predicted wrong. ` +
        'Arrows go from photo to photo, Space chooses.',
    );
    stamps = null;
    redraw();
  }

  // Marks are written into the picture's bytes: 25,000 of them take a few milliseconds, without help of a GPU.
  var stamps = null;
  function makeStamps() {
    const radius = ratio * (total > 10000 ? 2.4 : total > 2000 ? 3.2 : 4.6) * Math.min(2, Math.sqrt(view.zoom));
    const of = (size, inside) => {
      const reach = Math.ceil(size * 1.25), offsets = [];
      for (let y = -reach; y <= reach; y++)
        for (let x = -reach; x <= reach; x++) if (inside(x / size, y / size)) offsets.push(y * width + x);
      return Int32Array.from(offsets);
    };
    stamps = {
      zoom: view.zoom,
      reach: Math.ceil(radius * 1.8) + 2,
      marks: SHAPES.map((shape) => of(radius, shape)),
      ring: of(radius * 1.7 + ratio, SHAPES[0]),
    };
  }
  function draw() {
    frame = 0;
    if (!pixels) return;
    if (!stamps || stamps.zoom !== view.zoom) makeStamps();
    pixels.fill(0);
    const side = fitted() * view.zoom;
    const [left, top] = [width / 2 - view.x * side, height / 2 - view.y * side];
    const paint = groups.kinds.map(({ colour }) => packed(colour));
    const [faint, ring] = [packed(dark ? '#2f3b42' : '#dbe2e6'), packed(dark ? '#ffffff' : '#15232c')];
    const { of, kinds } = groups;
    const edge = stamps.reach;
    const shown = (i) => (only === null || of[i] === only) && (litCount === null || lit(i));
    const later = [];
    const put = (i, offsets, colour) => {
      const x = Math.round(screenX[i]), y = Math.round(screenY[i]);
      if (x < edge || y < edge || x >= width - edge || y >= height - edge) return;
      const base = y * width + x;
      for (let k = 0; k < offsets.length; k++) pixels[base + offsets[k]] = colour;
    };
    for (let i = 0; i < total; i++) {
      screenX[i] = left + X[i] * side;
      screenY[i] = top + Y[i] * side;
      if (picked.has(i) || (shown(i) && (only !== null || litCount !== null))) later.push(i);
      else if (shown(i)) put(i, stamps.marks[kinds[of[i]].shape], paint[of[i]]);
      else put(i, stamps.marks[kinds[of[i]].shape], faint);
    }
    for (const i of later) {
      if (picked.has(i)) put(i, stamps.ring, ring);
      put(i, stamps.marks[kinds[of[i]].shape], paint[of[i]]);
    }
    points.getContext('2d').putImageData(image, 0, 0);
    mark();
  }
  // Pixels for the whole of an axis where all marks just fit in; they lie around the middle.
  function fitted() {
    return 0.92 * Math.min(width / spread[0], height / spread[1]);
  }
  function redraw() {
    if (!frame) frame = requestAnimationFrame(draw);
  }
  function resize() {
    ratio = Math.min(window.devicePixelRatio || 1, 2);
    const box = field.getBoundingClientRect();
    const [wide, high] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (!wide || !high || (wide === width && high === height)) return;
    [width, height] = [wide, high];
    for (const canvas of [points, over]) Object.assign(canvas, { width, height });
    image = new ImageData(width, height);
    pixels = new Uint32Array(image.data.buffer);
    stamps = null;
    redraw();
  }

  function setMode(mode) {
    kept.mode = root.dataset.mode = mode;
    part('lasso').setAttribute('aria-checked', mode === 'lasso');
    part('move').setAttribute('aria-checked', mode === 'move');
  }
  function zoom(factor, x = width / 2, y = height / 2) {
    const before = fitted() * view.zoom;
    const [px, py] = [view.x + (x - width / 2) / before, view.y + (y - height / 2) / before];
    view.zoom = Math.min(Math.max(view.zoom * factor, 1), MOST_ZOOM);
    const after = fitted() * view.zoom;
    view.x = px - (x - width / 2) / after;
    view.y = py - (y - height / 2) / after;
    bound();
  }
  function pan(dx, dy) {
    const side = fitted() * view.zoom;
    view.x -= dx / side;
    view.y -= dy / side;
    bound();
  }
  function bound() {
    view.x = Math.min(Math.max(view.x, 0), 1);
    view.y = Math.min(Math.max(view.y, 0), 1);
    redraw();
  }

  function choose(indices, how) {
    if (how === 'instead') picked.clear();
    for (const i of indices) how === 'fewer' ? picked.delete(i) : picked.add(i);
    const none = part('none');
    none.hidden = !picked.size;
    none.textContent = `Let go of ${counted(picked.size)}`;
    part('spoken').textContent = picked.size ? `${counted(picked.size)} chosen` : 'None chosen';
    redraw();
    clearTimeout(timer);
    timer = setTimeout(() => root.tell([...picked].map((i) => photos.path[i])), 150);
  }

  function nearest(x, y, within) {
    let best = -1, least = within * within;
    for (let i = 0; i < total; i++) {
      const dx = screenX[i] - x, dy = screenY[i] - y;
      const far = dx * dx + dy * dy;
      if (far < least && (litCount === null || lit(i)) && (only === null || groups.of[i] === only)) [best, least] = [i, far];
    }
    return best;
  }
  function look(i, loud = false) {
    if (i === at && !loud) return;
    at = i;
    card.hidden = i < 0;
    mark();
    if (i < 0) return;
    const right = photos.label[i] === photos.predicted[i];
    const sure = `${(100 * photos.probability[i]).toFixed(1)} %`;
    const pending = root.given.pending[photos.path[i]];
    const lines = [
      right ? `✓ ${photos.label[i]}, ${sure}` : `✕ said ${photos.predicted[i]}, ${sure}`,
      ...(right ? [] : [`labelled ${photos.label[i]}`]),
      ...(pending ? [pending] : []),
      SPLITS[photos.split[i]],
      photos.path[i],
    ];
    card.querySelector('img').src = root.given.thumbnail.replace('SHA256', photos.sha256[i]);
    card.querySelector('figcaption').textContent = lines.join('\n');
    if (loud && (screenX[i] < 0 || screenX[i] > width || screenY[i] < 0 || screenY[i] > height)) {
      Object.assign(view, { x: X[i], y: Y[i] });
      redraw();
    }
    if (loud) part('spoken').textContent = `${lines.join(', ')}${picked.has(i) ? ', chosen' : ''}`;
  }

  // The lasso and a ring around the photo that is looked at, above the marks.
  let path = [];
  function mark() {
    const context = over.getContext('2d');
    context.clearRect(0, 0, width, height);
    context.lineWidth = 2 * ratio;
    context.strokeStyle = dark ? '#ffffff' : '#15232c';
    if (path.length > 1) {
      context.setLineDash([6 * ratio, 4 * ratio]);
      context.beginPath();
      path.forEach(([x, y]) => context.lineTo(x, y));
      context.stroke();
      context.setLineDash([]);
    }
    if (at < 0 || card.hidden) return;
    const [x, y] = [screenX[at], screenY[at]];
    context.beginPath();
    context.arc(x, y, 9 * ratio, 0, 7);
    context.stroke();
    const box = field.getBoundingClientRect();
    const [wide, high] = [card.offsetWidth, card.offsetHeight];
    const [cx, cy] = [x / ratio, y / ratio];
    card.style.left = `${Math.max(4, cx + 16 + wide > box.width ? cx - 16 - wide : cx + 16)}px`;
    card.style.top = `${Math.max(4, Math.min(cy - high / 2, box.height - high - 4))}px`;
  }

  const down = new Map();
  let moved = 0;
  const where = (event) => {
    const box = points.getBoundingClientRect();
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  };
  points.onpointerdown = (event) => {
    points.setPointerCapture(event.pointerId);
    down.set(event.pointerId, where(event));
    moved = 0;
    path = down.size === 1 && kept.mode === 'lasso' ? [where(event)] : [];
  };
  points.onpointermove = (event) => {
    const here = where(event);
    if (!down.has(event.pointerId)) {
      if (event.pointerType === 'mouse') look(nearest(...here, NEAR * ratio));
      return;
    }
    const before = down.get(event.pointerId);
    moved += Math.hypot(here[0] - before[0], here[1] - before[1]);
    if (down.size === 2) {
      const other = [...down.entries()].find(([id]) => id !== event.pointerId)[1];
      const apart = (one) => Math.max(20, Math.hypot(one[0] - other[0], one[1] - other[1]));
      pan((here[0] - before[0]) / 2, (here[1] - before[1]) / 2);
      zoom(apart(here) / apart(before), (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
    } else if (kept.mode === 'move') {
      pan(here[0] - before[0], here[1] - before[1]);
    } else if (path.length) {
      path.push(here);
      look(-1);
      mark();
    }
    down.set(event.pointerId, here);
  };
  points.onpointerup = points.onpointercancel = (event) => {
    const alone = down.size === 1;
    down.delete(event.pointerId);
    const how = event.altKey ? 'fewer' : event.shiftKey ? 'more' : 'instead';
    const drawn = path;
    path = [];
    if (event.type === 'pointercancel' || !alone) return mark();
    if (moved < 6 * ratio) {
      const i = nearest(...where(event), NEAR * ratio * (event.pointerType === 'mouse' ? 1 : 1.8));
      if (event.pointerType !== 'mouse') look(i);
      if (i >= 0) choose([i], picked.has(i) ? 'fewer' : how === 'fewer' ? how : event.shiftKey || event.pointerType !== 'mouse' ? 'more' : 'instead');
      else mark();
    } else if (drawn.length > 2) {
      choose(every().filter((i) => (litCount === null || lit(i)) && (only === null || groups.of[i] === only) && inside(screenX[i], screenY[i], drawn)), how);
    }
  };
  points.onpointerleave = () => {
    if (!down.size) look(-1);
  };
  points.addEventListener(
    'wheel',
    (event) => {
      // Without that a page could not be scrolled past the map.
      if (!event.ctrlKey && !points.matches(':focus')) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 400), ...where(event));
    },
    { passive: false },
  );
  points.onkeydown = (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way && event.shiftKey) pan(-way[0] * width * 0.15, -way[1] * height * 0.15);
    else if (way) look(next(way), true);
    else if (event.key === ' ' || event.key === 'Enter') {
      if (at >= 0) choose([at], picked.has(at) ? 'fewer' : 'more');
    } else if (event.key === '+' || event.key === '=') zoom(KEY_STEP, ...(at >= 0 ? [screenX[at], screenY[at]] : []));
    else if (event.key === '-') zoom(1 / KEY_STEP);
    else if (event.key === 'Escape') {
      choose([], 'instead');
      look(-1);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
  points.onblur = () => look(-1);

  // The nearest photo in a direction, within a quarter turn of it; the middle one at first.
  function next([dx, dy]) {
    if (at < 0) return nearest(width / 2, height / 2, width + height);
    let best = at, least = Infinity;
    for (let i = 0; i < total; i++) {
      if (i === at || (litCount !== null && !lit(i)) || (only !== null && groups.of[i] !== only)) continue;
      const [x, y] = [screenX[i] - screenX[at], screenY[i] - screenY[at]];
      const along = x * dx + y * dy, aside = Math.abs(x * dy + y * dx);
      if (along <= 0 || aside > along) continue;
      if (along + 2 * aside < least) [best, least] = [i, along + 2 * aside];
    }
    return best;
  }
}

function inside(x, y, polygon) {
  let is = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [ax, ay] = polygon[i], [bx, by] = polygon[j];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) is = !is;
  }
  return is;
}

function isDark(root) {
  const [r, g, b] = getComputedStyle(root.querySelector('.field')).backgroundColor.match(/[\d.]+/g).map(Number);
  return r + g + b < 384;
}

// As one number in the order of the picture's bytes: alpha, blue, green, red.
function packed(colour) {
  const value = parseInt(colour.slice(1), 16);
  return (0xff000000 | ((value & 0xff) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

const counted = (number) => `${number.toLocaleString('en')} photo${number === 1 ? '' : 's'}`;
