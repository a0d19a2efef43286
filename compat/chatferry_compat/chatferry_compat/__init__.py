"""A Django app for the move to Chatferry. It reads the project it is installed in and changes nothing.

| module | what it is |
|---|---|
| `served` | what Chatferry serves, as data |
| `chat_models`, `rest_routes`, `sockets`, `consumer_source`, `source` | where the chat is in this project |
| `access` | whom it asks who they are, and what it lets them do |
| `database`, `layer`, `redis_hosts`, `history`, `settings_file`, `toml` | `manage.py chatferry_settings` |
| `checks`, `finding`, `verdict` | `manage.py chatferry_check` |
"""
