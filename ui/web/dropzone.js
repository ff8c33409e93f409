// Takes files and folders from a person and streams each to the server; see ui/web/uploads.py for the addresses.
const AT_ONCE = 4;
const TRIES = 3;

export default function ({ parentElement, data, setStateValue, setTriggerValue }) {
  const root = parentElement.querySelector('.drop');
  if (!root.dataset.ready) {
    root.dataset.ready = 'yes';
    listen(root, data || {}, (id) => setTriggerValue('arrived', id), (busy) => setStateValue('busy', busy));
  }
  if (root.pasted) document.addEventListener('paste', root.pasted);
  return () => {
    if (root.pasted) document.removeEventListener('paste', root.pasted);
    root.stop?.();
  };
}

function listen(root, { predict, space, pool }, arrived, working) {
  const at = (address) =>
    space ? `${address}${address.includes('?') ? '&' : '?'}space=${encodeURIComponent(space)}` : address;
  const whither = predict ? '?for=predict' : pool ? `?for=pool&data=${encodeURIComponent(pool)}` : '';
  const part = (name) => root.querySelector(`.${name}`);
  const [files, folder] = [part('files'), part('folder')];
  part('choose-files').onclick = () => files.click();
  part('choose-folder').onclick = () => folder.click();
  for (const input of [files, folder]) {
    input.onchange = () => {
      const chosen = [...input.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
      input.value = '';
      send(chosen);
    };
  }
  root.ondragover = (event) => {
    event.preventDefault();
    root.classList.add('over');
  };
  root.ondragleave = () => root.classList.remove('over');
  root.ondrop = async (event) => {
    event.preventDefault();
    root.classList.remove('over');
    if (root.stop) return; // one upload at a time
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    show('busy');
    tell('Looking through what you dropped');
    const found = [];
    for (const entry of entries) await walk(entry, '', found);
    send(found.length ? found : [...event.dataTransfer.files].map((file) => ({ file, name: file.name })));
  };
  root.onkeydown = (event) => {
    if (event.key === 'Escape') root.stop?.();
  };
  part('cancel').onclick = () => root.stop?.();
  if (predict) takePasted();

  function takePasted() {
    part('kinds').textContent = 'JPEG, PNG, HEIC, WebP, TIFF and other photos; .zip, .tar; or paste a picture (Ctrl+V)';
    const name = (type, index) => `pasted ${index + 1}.${type.split('/')[1].split('+')[0]}`;
    root.pasted = (event) => {
      const pictures = [...event.clipboardData.files].filter(({ type }) => type.startsWith('image/'));
      if (!pictures.length || root.stop) return;
      event.preventDefault();
      send(pictures.map((file, index) => ({ file, name: name(file.type, index) })));
    };
    if (!navigator.clipboard?.read) return; // not everywhere without https
    part('paste').hidden = false;
    part('paste').onclick = async () => {
      try {
        const pictures = [];
        for (const item of await navigator.clipboard.read()) {
          const type = item.types.find((one) => one.startsWith('image/'));
          if (type) pictures.push({ file: await item.getType(type), name: name(type, pictures.length) });
        }
        if (pictures.length) send(pictures);
        else fail('There is no picture in the clipboard. Copy one, then paste it.');
      } catch {
        fail('The browser does not let this page read the clipboard. Press Ctrl+V here, or choose a file.');
      }
    };
  }

  function show(state) {
    root.dataset.state = state;
  }
  function tell(text, share = null) {
    part('said').textContent = text;
    if (share === null) part('bar').removeAttribute('value');
    else part('bar').value = share;
  }
  function fail(sentence) {
    part('wrong').textContent = sentence;
    show('idle');
  }

  async function send(found) {
    const items = found.filter(({ name }) => !isLeftBehind(name));
    part('wrong').textContent = '';
    if (!items.length) return fail('There were no files in that. Choose photos, a folder, or an archive of them.');
    const total = items.reduce((sum, { file }) => sum + file.size, 0);
    const running = new Set();
    let stopped = false, id = null, done = 0, count = 0, last = 0;
    const started = performance.now();
    const leaving = (event) => event.preventDefault();
    const throwAway = () => {
      if (id) fetch(at(`api/uploads/${id}`), { method: 'DELETE', headers: { 'X-Thaw': '1' }, keepalive: true });
    };
    root.stop = () => {
      stopped = true;
      for (const request of running) request.abort();
      throwAway();
    };
    const { stop } = root;
    addEventListener('beforeunload', leaving);
    addEventListener('pagehide', stop);
    show('busy');
    tell('Starting the upload');
    working(true);

    const progress = () => {
      const now = performance.now();
      if (now - last < 200 && count < items.length) return;
      last = now;
      let sent = done;
      for (const request of running) sent += request.sent || 0;
      const left = sent ? ((now - started) / 1000) * (total / sent - 1) : NaN;
      const files = items.length > 1 ? `${number(count)} of ${number(items.length)} files, ` : '';
      const time = now - started > 2000 && Number.isFinite(left) ? `, ${duration(left)} left` : '';
      tell(`Uploading: ${files}${size(sent)} of ${size(total)}${time}`, total ? sent / total : null);
    };
    const put = ({ file, name }) => new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      running.add(request);
      request.open('PUT', at(`api/uploads/${id}/files?name=${encodeURIComponent(name)}`));
      request.setRequestHeader('X-Thaw', '1');
      request.upload.onprogress = (event) => {
        request.sent = event.loaded;
        progress();
      };
      request.onloadend = () => {
        running.delete(request);
        if (request.status === 204) resolve();
        else reject({ final: request.status >= 400, message: reason(request.responseText) });
      };
      request.send(file);
    });
    const worker = async (queue) => {
      for (let item = queue.next(); !item.done && !stopped; item = queue.next()) {
        for (let attempt = 1; ; attempt++) {
          try {
            await put(item.value);
            break;
          } catch (error) {
            if (stopped) return;
            if (error.final || attempt === TRIES) throw error;
            await new Promise((resolve) => setTimeout(resolve, 1000 * attempt));
          }
        }
        done += item.value.file.size;
        count += 1;
        progress();
      }
    };

    try {
      ({ id } = await post(at('api/uploads')));
      if (stopped) throwAway();
      const queue = items.values();
      await Promise.all(Array.from({ length: AT_ONCE }, () => worker(queue)));
      if (!stopped) {
        tell('Everything has arrived; looking at it');
        const { job, batch } = await post(at(`api/uploads/${id}/done${whither}`));
        id = null;
        arrived(job || batch);
        show('idle');
      }
    } catch (error) {
      root.stop();
      fail(error.message || 'The connection to the server broke off, and nothing was kept. Upload the files again.');
    } finally {
      removeEventListener('beforeunload', leaving);
      removeEventListener('pagehide', stop);
      root.stop = null;
      working(false);
      if (stopped && root.dataset.state === 'busy') fail('The upload was cancelled; nothing of it was kept.');
    }
  }
}

async function post(address) {
  const answer = await fetch(address, { method: 'POST', headers: { 'X-Thaw': '1' } });
  if (!answer.ok) throw { message: reason(await answer.text()) };
  return answer.json();
}

function reason(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return '';
  }
}

async function walk(entry, folder, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    if (file) found.push({ file, name: folder + entry.name });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return;
    for (const child of some) await walk(child, `${folder}${entry.name}/`, found);
  }
}

function isLeftBehind(name) {
  const parts = name.split('/');
  return parts.some((part) => part.startsWith('.') || part === '__MACOSX') || parts.at(-1).toLowerCase() === 'thumbs.db';
}

const number = (value) => value.toLocaleString('en');

function size(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
