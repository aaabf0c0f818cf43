"""Chat templates: a conversation as the text, and the ids, that a model was trained to read."""

from llmref.chat.template import ChatTemplate, load_chat_template

__all__ = ["ChatTemplate", "load_chat_template"]
