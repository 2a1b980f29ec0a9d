'use strict';
// Refreshes the regions marked data-live. Open details, the focus, scroll positions and the form are preserved.
(() => {
  const REFRESH_INTERVAL_MS = 5000;
  const connectionStatus = document.getElementById('connection');
  // Behind a proxy the address may lack the slash that relative links need.
  const { pathname, search, hash } = location;
  if (!pathname.endsWith('/')) history.replaceState(null, '', `${pathname}/${search}${hash}`);

  let failedSince = null;
  let timer = null;

  const replaceContent = (region, updated) => {
    // A click on an element that is replaced before the button is released would be lost.
    if (region.querySelector('a:active, summary:active') || region.innerHTML === updated.innerHTML) return;
    const openIds = [...region.querySelectorAll('details[open]')].map((details) => details.id);
    const focused = region.contains(document.activeElement) ? document.activeElement : null;
    const identify = (element) => element.getAttribute('href') || element.getAttribute('aria-label') || element.textContent;
    const focusedKey = focused && identify(focused);
    const scrollPositions = [...region.querySelectorAll('.scroll')].map((box) => [box.scrollLeft, box.scrollTop]);
    region.replaceChildren(...updated.childNodes);
    openIds.forEach((id) => document.getElementById(id)?.setAttribute('open', ''));
    region.querySelectorAll('.scroll').forEach((box, index) => {
      if (scrollPositions[index]) [box.scrollLeft, box.scrollTop] = scrollPositions[index];
    });
    if (focused) {
      const isFocused = (element) => identify(element) === focusedKey;
      [...region.querySelectorAll(focused.tagName)].find(isFocused)?.focus({ preventScroll: true });
    }
  };

  const refresh = async () => {
    try {
      const response = await fetch(location.href, { cache: 'no-store', signal: AbortSignal.timeout(REFRESH_INTERVAL_MS) });
      if (!response.ok) throw new Error(response.statusText);
      const updatedPage = new DOMParser().parseFromString(await response.text(), 'text/html');
      for (const region of document.querySelectorAll('[data-live]')) {
        const updated = updatedPage.getElementById(region.id);
        if (updated) replaceContent(region, updated);
      }
      document.title = updatedPage.title;
      failedSince = null;
      connectionStatus.textContent = '';
    } catch {
      failedSince ??= new Date().toLocaleTimeString();
      connectionStatus.textContent = `No response from the exporter since ${failedSince}; showing the last known state.`;
    }
  };

  const refreshAndReschedule = async () => {
    clearTimeout(timer);
    if (!document.hidden) await refresh();
    timer = setTimeout(refreshAndReschedule, REFRESH_INTERVAL_MS);
  };
  document.addEventListener('visibilitychange', () => document.hidden || refreshAndReschedule());
  timer = setTimeout(refreshAndReschedule, REFRESH_INTERVAL_MS);
})();
