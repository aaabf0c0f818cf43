"""The table of real models that `!models heads kv_heads only=gpt2,llama-3.1-8b` asks for, in either language."""

from collections.abc import Callable
from datetime import date
from typing import Any

from machinery import SiteError
from machinery.models import RealModel, models
from machinery.pages import Directive

WORDS = {
    "en": {
        "model": "model",
        "released": "released",
        "layers": "layers",
        "d_model": "d_model",
        "heads": "query heads",
        "kv_heads": "key/value heads",
        "head_dim": "head size",
        "window": "window",
        "positions": "positions",
        "rope_base": "RoPE base",
        "rope_scaling": "RoPE scaling",
        "norm": "norm",
        "norm_position": "place of the norm",
        "feedforward": "feedforward",
        "d_ff": "d_ff",
        "activation": "activation",
        "context": "context",
        "vocab": "vocabulary",
        "tied": "head shares the embedding",
        "cache_bytes": "cache per token",
        "parameters": "parameters (billions)",
        "active_parameters": "active parameters (billions)",
        "experts": "experts",
        "experts_used": "for a token",
        "shared_experts": "shared",
        "learned": "learned",
        "yes": "yes",
        "no": "no",
        "latent": "latent (MLA)",
        "every second": "{window}, every second layer",
        "part": "RoPE, {share} of each head",
        "some": "RoPE, none in every {every}th layer",
        "qk": "{norm}, queries and keys too",
        "pre": "before",
        "sandwich": "before and after",
        "output": "after",
        "parallel": "{place}, parallel",
        "plain": "plain",
        "gated": "gated",
        "with experts": "{kind}, {used} of {all} experts",
        "with shared": "{kind}, {used} of {all} experts and {shared} shared",
        "caption": "As of {date}, from the models' own config files.",
        "cache caption": " Cache: all layers, 16-bit numbers.",
        "date": "%B %-d, %Y",
    },
    "ko": {
        "model": "모델",
        "released": "공개",
        "layers": "층",
        "d_model": "d_model",
        "heads": "쿼리 헤드",
        "kv_heads": "키/값 헤드",
        "head_dim": "헤드 크기",
        "window": "윈도",
        "positions": "위치",
        "rope_base": "RoPE 밑",
        "rope_scaling": "RoPE 스케일링",
        "norm": "정규화",
        "norm_position": "정규화 자리",
        "feedforward": "피드포워드",
        "d_ff": "d_ff",
        "activation": "활성화 함수",
        "context": "문맥 길이",
        "vocab": "어휘사전",
        "tied": "헤드가 임베딩을 공유",
        "cache_bytes": "토큰당 캐시",
        "parameters": "파라미터(10억)",
        "active_parameters": "활성 파라미터(10억)",
        "experts": "전문가",
        "experts_used": "토큰마다",
        "shared_experts": "공유",
        "learned": "학습",
        "yes": "예",
        "no": "아니요",
        "latent": "잠재 벡터(MLA)",
        "every second": "{window}, 한 층 걸러",
        "part": "RoPE, 각 헤드의 {share}",
        "some": "RoPE, {every}층마다 한 층은 없음",
        "qk": "{norm}, 쿼리와 키에도",
        "pre": "앞",
        "sandwich": "앞뒤",
        "output": "뒤",
        "parallel": "{place}, 병렬",
        "plain": "기본형",
        "gated": "게이트형",
        "with experts": "{kind}, 전문가 {all}개 중 {used}개",
        "with shared": "{kind}, 전문가 {all}개 중 {used}개와 공유 {shared}개",
        "caption": "{date} 기준, 각 모델의 설정 파일에서 가져왔습니다.",
        "cache caption": " 캐시는 16비트 숫자로, 모든 층을 더했습니다.",
        "date": "%Y년 %-m월 %-d일",
    },
}
NONE = "–"
"""Stands for what a model has not got."""
IN_WORDS = {"positions", "rope_scaling", "norm", "norm_position", "feedforward", "activation", "tied"}
"""The columns that stand to the left; those of numbers stand to the right."""
ACTIVATIONS = {"silu": "SiLU", "gelu": "GELU", "relu": "ReLU"}
SCALINGS = {"llama3": "Llama 3", "yarn": "YaRN", "linear": "linear", "dynamic": "dynamic NTK"}


def table(directive: Directive, language: str) -> str:
    """The table that a directive asks for: its columns as they stand there, the models oldest first."""
    words = WORDS[language]
    given = [directive.target, *directive.options]
    columns = [name for name in given if name and name != "only"]
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown or not columns:
        what = f"no column {unknown[0]!r}" if unknown else "no columns"
        raise SiteError(f"!models: {what}; there are {', '.join(COLUMNS)}")
    shown = chosen(directive.options.get("only"))
    rows = [
        f"| {words['model']} | " + " | ".join(words[name] for name in columns) + " |",
        "|---|" + "|".join("---" if name in IN_WORDS else "---:" for name in columns) + "|",
    ]
    for model in shown:
        cells = [cell(name, COLUMNS[name](model, words)) for name in columns]
        rows.append(f"| [{model.name}]({model.source}) | " + " | ".join(cells) + " |")
    newest = max(date.fromisoformat(model.retrieved) for model in shown)
    caption = words["caption"].format(date=newest.strftime(words["date"]))
    if "cache_bytes" in columns:
        caption += words["cache caption"]
    return "\n".join(
        ['<div class="models" markdown>', "", *rows, "", f"<small>{caption}</small>", "", "</div>"]
    )


def chosen(only: str | None) -> list[RealModel]:
    every = models()
    if only is None:
        return list(every.values())
    names = only.split(",")
    unknown = [name for name in names if name not in every]
    if unknown:
        raise SiteError(
            f"!models: only={unknown[0]}, but there is no docs/models/{unknown[0]}.json; "
            f"there are {', '.join(every)}"
        )
    return [model for slug, model in every.items() if slug in names]


def cell(name: str, value: Any) -> str:
    """A value as it is shown."""
    if value is None:
        return NONE
    if name in UNITS:
        return UNITS[name](value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def short(number: float) -> str:
    """Three digits, or all those before the point."""
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


def window(model: RealModel, words: dict[str, str]) -> Any:
    sizes = set(model.windows)
    if sizes == {None}:
        return None
    size = max(size for size in sizes if size is not None)
    return words["every second"].format(window=f"{size:,}") if None in sizes else size


def positions(model: RealModel, words: dict[str, str]) -> str:
    if model.family.positions == "learned":
        return words["learned"]
    if model.family.positions == "RoPE" and model.config.get("rotary_pct", 1) < 1:
        return words["part"].format(share=f"{model.config['rotary_pct']:.0%}")
    if "no_rope_layer_interval" in model.config:
        return words["some"].format(every=model.config["no_rope_layer_interval"])
    return model.family.positions


def rope_base(model: RealModel, words: dict[str, str]) -> int | None:
    return int(model.value("rope_base")) if model.family.positions == "RoPE" else None


def rope_scaling(model: RealModel, words: dict[str, str]) -> str | None:
    scaling = model.config.get("rope_scaling")
    if not scaling:
        return None
    kind = scaling.get("rope_type") or scaling["type"]
    return f"{SCALINGS[kind]}, ×{scaling['factor']:g}"


def norm(model: RealModel, words: dict[str, str]) -> str:
    return words["qk"].format(norm=model.family.norm) if model.family.qk_norm else model.family.norm


def norm_position(model: RealModel, words: dict[str, str]) -> str:
    place = words[model.family.norm_position]
    return words["parallel"].format(place=place) if model.family.parallel else place


def feedforward(model: RealModel, words: dict[str, str]) -> str:
    kind = words["gated" if model.family.gated else "plain"]
    if not model.has("experts"):
        return kind
    shared = model.config.get("n_shared_experts", 0)
    form = words["with shared" if shared else "with experts"]
    return form.format(kind=kind, used=model.value("experts_used"), all=model.value("experts"), shared=shared)


def activation(model: RealModel, words: dict[str, str]) -> str:
    name = model.value("activation")
    known = [kind for kind in ACTIVATIONS if name.startswith(kind)]
    if not known:
        raise SiteError(
            f"docs/models/{model.file.name}: activation {name!r}, expected one of {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[known[0]]


def if_experts(name: str) -> Callable[[RealModel, dict[str, str]], Any]:
    return lambda model, words: model.value(name) if model.has("experts") else None


def plain(name: str) -> Callable[[RealModel, dict[str, str]], Any]:
    return lambda model, words: model.value(name)


COLUMNS: dict[str, Callable[[RealModel, dict[str, str]], Any]] = {
    "released": lambda model, words: model.released,
    "layers": plain("layers"),
    "d_model": plain("d_model"),
    "heads": plain("heads"),
    "kv_heads": lambda model, words: words["latent"] if model.family.latent else model.value("kv_heads"),
    "head_dim": plain("head_dim"),
    "window": window,
    "positions": positions,
    "rope_base": rope_base,
    "rope_scaling": rope_scaling,
    "norm": norm,
    "norm_position": norm_position,
    "feedforward": feedforward,
    "d_ff": plain("d_ff"),
    "activation": activation,
    "context": plain("context"),
    "vocab": plain("vocab"),
    "tied": lambda model, words: words["yes" if model.value("tied") else "no"],
    "cache_bytes": lambda model, words: model.cache_bytes,
    "parameters": lambda model, words: model.parameters,
    "active_parameters": lambda model, words: model.active_parameters,
    "experts": if_experts("experts"),
    "experts_used": if_experts("experts_used"),
    "shared_experts": lambda model, words: model.config.get("n_shared_experts"),
}
UNITS: dict[str, Callable[[int], str]] = {
    "cache_bytes": lambda n_bytes: f"{short(n_bytes / 1024)} KiB",
    "parameters": lambda number: short(number / 1e9),
    "active_parameters": lambda number: short(number / 1e9),
}
