// Shows what the camera sees and what the model says of it, one frame after the other; see ui/web/live.py.
const LEAST_MS = 66; // between two frames: more than 15 a second tell nobody more
const COUNTED_MS = 3000; // the figure is of so long
const SPOKEN_MS = 3000; // a screen reader is told no more often
const TROUBLE = {
  NotAllowedError: "The camera was refused. Allow it for this page in the browser's settings, then start it again.",
  NotFoundError: 'No camera was found. Connect one, then start it again.',
  NotReadableError: 'The camera cannot be opened; another program may be using it. Close that, then start it again.',
  SecurityError: 'Browsers give the camera only to pages that come over https or from this machine itself.',
};

export default function ({ parentElement, data }) {
  const root = parentElement.querySelector('.live');
  root.asked = data;
  if (!root.ready) {
    root.ready = true;
    listen(root);
  }
  return () => root.stop?.();
}

function listen(root) {
  const part = (name) => root.querySelector(`.${name}`);
  const film = part('film');
  const canvas = document.createElement('canvas');
  let stream = null, number = 0, times = [], spoken = ['', 0];
  part('start').onclick = start;
  part('stop').onclick = () => stop();
  root.stop = stop;

  async function start() {
    const mine = ++number;
    part('wrong').textContent = '';
    root.dataset.state = 'waiting';
    tell('Waiting for the camera', 'The browser may ask whether this page may use it.');
    let opened = null;
    try {
      if (!navigator.mediaDevices) throw new DOMException('', 'SecurityError');
      opened = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
      if (mine !== number) throw new DOMException('', 'AbortError');
      stream = opened;
      film.srcObject = stream;
      await film.play();
    } catch (error) {
      for (const track of opened?.getTracks() || []) track.stop();
      if (mine === number) stop(TROUBLE[error.name] || `The camera cannot be used (${error.name}).`);
      return;
    }
    stream.getVideoTracks()[0].onended = () => stop('The camera was disconnected. Connect it, then start it again.');
    root.dataset.state = 'live';
    tell('Loading the model', 'The first time that takes some seconds.');
    times = [];
    while (mine === number) {
      const began = performance.now();
      if (document.hidden) await shownAgain();
      try {
        await look(mine);
      } catch (error) {
        if (mine === number) stop(error.said || 'The connection to the server broke off. Start the camera again.');
        return;
      }
      await new Promise((done) => setTimeout(done, Math.max(0, LEAST_MS - (performance.now() - began))));
    }
  }

  // One frame: squished to what the model takes, so that no more travels than it needs.
  async function look(mine) {
    const { run, side, coverage, space } = root.asked;
    canvas.width = canvas.height = side;
    const context = canvas.getContext('2d');
    context.imageSmoothingQuality = 'high';
    context.drawImage(film, 0, 0, side, side);
    const frame = await new Promise((done) => canvas.toBlob(done, 'image/jpeg', 0.92));
    if (mine !== number) return;
    const asked = new URLSearchParams({ run, coverage, ...(space ? { space } : {}) });
    const answer = await fetch(`api/live?${asked}`, { method: 'POST', headers: { 'X-Thaw': '1' }, body: frame });
    const said = await answer.json().catch(() => ({}));
    if (mine !== number) return;
    if (!answer.ok) throw { said: said.error || 'The server could not look at the picture. Start the camera again.' };
    show(said);
  }

  function show({ classes, probs, none, knows_none, milliseconds }) {
    const now = performance.now();
    times = [...times.filter((time) => now - time < COUNTED_MS), now];
    root.classList.toggle('stranger', Boolean(none));
    const verdict = none ? 'None of these' : `${classes[0]}, ${percent(probs[0])}`;
    let reason = none ? `It is unlike the training photos. If it had to be one of the classes: ${classes[0]}.` : '';
    if (!knows_none) reason = 'This model cannot say “none of these”.';
    tell(verdict, reason);
    const bars = part('bars');
    while (bars.children.length > classes.length) bars.lastChild.remove();
    while (bars.children.length < classes.length) bars.append(row());
    classes.forEach((name, index) => {
      const [shown, figure, track] = bars.children[index].children;
      shown.textContent = shown.title = name;
      figure.textContent = percent(probs[index]);
      track.firstChild.style.width = `${100 * probs[index]}%`;
    });
    const seconds = (now - times[0]) / 1000;
    const rate = times.length > 2 ? `${((times.length - 1) / seconds).toFixed(1)} pictures a second; ` : '';
    part('rate').textContent = `${rate}the model took ${Math.round(milliseconds)} ms`;
    const label = none ? 'None of these' : classes[0];
    if (label !== spoken[0] && now - spoken[1] > SPOKEN_MS) {
      spoken = [label, now];
      part('spoken').textContent = label;
    }
  }

  function tell(verdict, reason) {
    part('verdict').textContent = verdict;
    part('reason').textContent = reason;
  }

  function stop(wrong = '') {
    number += 1;
    for (const track of stream?.getTracks() || []) track.stop();
    stream = film.srcObject = null;
    root.dataset.state = 'idle';
    root.classList.remove('stranger');
    tell('', '');
    part('bars').replaceChildren();
    part('rate').textContent = part('spoken').textContent = '';
    part('wrong').textContent = wrong;
  }
}

function row() {
  const item = document.createElement('li');
  for (const name of ['name', 'figure', 'track']) {
    const child = document.createElement('span');
    child.className = name;
    item.append(child);
  }
  const bar = document.createElement('span');
  bar.className = 'bar';
  item.lastChild.append(bar);
  for (const child of [item.lastChild, bar]) child.style.display = 'block';
  return item;
}

function shownAgain() {
  return new Promise((done) => {
    document.addEventListener('visibilitychange', function look() {
      if (document.hidden) return;
      document.removeEventListener('visibilitychange', look);
      done();
    });
  });
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
