"""What would differ between this project and Chatferry: each module looks at one side of it."""

from . import frames, framework, routes, serializers, tables


def run(project):
    """Every finding, in no order."""
    return [
        *project.setting_findings(),
        *tables.check(project),
        *routes.check(project),
        *serializers.check(project),
        *frames.check(project),
        *framework.check(project),
    ]
