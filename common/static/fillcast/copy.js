/* Optional: buttons that copy the text of an element. Without it the buttons stay hidden, and the text can be selected. */
(() => {
  const buttons = document.querySelectorAll("button[data-copy]");
  if (!navigator.clipboard) return;
  buttons.forEach((button) => {
    const label = button.textContent;
    button.hidden = false;
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
        button.textContent = "Copied";
      } catch { button.textContent = "Select the text and copy it"; }
      setTimeout(() => { button.textContent = label; }, 3000);
    });
  });
})();
