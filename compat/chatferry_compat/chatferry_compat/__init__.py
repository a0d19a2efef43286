"""A Django app for the move to Chatferry. It reads the project it is installed in and changes nothing.

| module | what it is |
|---|---|
| `served` | what Chatferry serves, as data |
| `chat_models`, `rest_routes`, `sockets`, `consumer_source` | where the chat is in this project |
| `database`, `layer`, `redis_hosts`, `settings_file`, `toml` | `manage.py chatferry_settings` |
| `checks`, `finding` | `manage.py chatferry_check` |
"""
