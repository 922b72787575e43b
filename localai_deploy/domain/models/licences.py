"""Licences of models, by the names that their cards give."""

APACHE = "Apache-2.0"
GEMMA = "Gemma Terms of Use"
LLAMA = "Llama 3.1 Community License"
MIT = "MIT"
