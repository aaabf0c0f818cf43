// A copy button on every code block, named in the language of the page.
(() => {
  const words = {
    ko: { copy: "복사", copied: "복사됨", failed: "직접 복사하세요", code: "코드 복사" },
    en: { copy: "Copy", copied: "Copied", failed: "Copy by hand", code: "Copy the code" },
  }[document.documentElement.lang === "ko" ? "ko" : "en"];

  async function put(text) {
    if (navigator.clipboard && window.isSecureContext) {
      return navigator.clipboard.writeText(text);
    }
    const area = document.createElement("textarea"); // a page opened from a folder, or over plain http
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("copy refused");
  }

  // What a reader would type: of a doctest, the input alone, without its prompts.
  function source(code) {
    if (!code.closest(".language-pycon")) return code.textContent;
    const typed = code.textContent.split("\n").filter((line) => /^(>>>|\.\.\.)( |$)/.test(line));
    return typed.map((line) => line.slice(4)).join("\n") + "\n";
  }

  for (const code of document.querySelectorAll(".md-typeset .highlight pre > code")) {
    const block = code.closest(".highlight");
    if (block.querySelector(".llmref-copy") || block.closest(".cell-output")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "llmref-copy";
    button.textContent = words.copy;
    button.setAttribute("aria-label", words.code);
    button.addEventListener("click", async () => {
      const label = await put(source(code)).then(() => words.copied, () => words.failed);
      button.textContent = label;
      button.setAttribute("aria-label", label);
      button.dataset.done = "";
      setTimeout(() => {
        button.textContent = words.copy;
        button.setAttribute("aria-label", words.code);
        delete button.dataset.done;
      }, 1600);
    });
    block.append(button);
  }
})();
