"""The words that the machinery itself puts on a page, by language."""

LABELS = {
    "ko": {
        "concepts": "개념",
        "notebooks": "노트북",
        "api": "API 레퍼런스",
        "in-notebook": "노트북에서 이 셀 보기",
        "output": "출력",
        "in-glossary": "용어집에서 보기",
        "page": "다루는 페이지",
        "name": "이름",
        "summary": "하는 일",
        "module": "모듈",
        "english-docstrings": "독스트링은 코드와 함께 읽도록 영어로 둡니다.",
    },
    "en": {
        "concepts": "Concepts",
        "notebooks": "Notebooks",
        "api": "API reference",
        "in-notebook": "This cell in the notebook",
        "output": "Output",
        "in-glossary": "In the glossary",
        "page": "Explained in",
        "name": "Name",
        "summary": "What it does",
        "module": "Module",
        "english-docstrings": "",
    },
}
