'use strict';
// Keeps what is marked as live current, without disturbing whoever reads, types or tabs through it.
(() => {
  const EVERY = 5000;
  const status = document.getElementById('connection');
  let failedSince = null;
  let timer = null;

  const update = (region, fresh) => {
    if (region.innerHTML === fresh.innerHTML) return;
    const open = [...region.querySelectorAll('details[open]')].map((details) => details.id);
    const focused = region.contains(document.activeElement) ? document.activeElement : null;
    const key = focused && (focused.getAttribute('href') || focused.getAttribute('aria-label') || focused.textContent);
    const scrolled = [...region.querySelectorAll('.scroll')].map((box) => [box.scrollLeft, box.scrollTop]);
    region.replaceChildren(...fresh.childNodes);
    open.forEach((id) => document.getElementById(id)?.setAttribute('open', ''));
    region.querySelectorAll('.scroll').forEach((box, index) => {
      if (scrolled[index]) [box.scrollLeft, box.scrollTop] = scrolled[index];
    });
    if (focused) {
      const same = (element) => key === (element.getAttribute('href') || element.getAttribute('aria-label') || element.textContent);
      [...region.querySelectorAll(focused.tagName)].find(same)?.focus({ preventScroll: true });
    }
  };

  const refresh = async () => {
    try {
      const answer = await fetch(location.href, { cache: 'no-store', signal: AbortSignal.timeout(EVERY) });
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
      for (const region of document.querySelectorAll('[data-live]')) {
        const same = fresh.getElementById(region.id);
        if (same) update(region, same);
      }
      document.title = fresh.title;
      failedSince = null;
      status.textContent = '';
    } catch {
      failedSince ??= new Date().toLocaleTimeString();
      status.textContent = `No answer from the exporter since ${failedSince}; this is what was known last.`;
    }
  };

  const loop = async () => {
    clearTimeout(timer);
    if (!document.hidden) await refresh();
    timer = setTimeout(loop, EVERY);
  };
  document.addEventListener('visibilitychange', () => document.hidden || loop());
  timer = setTimeout(loop, EVERY);
})();
