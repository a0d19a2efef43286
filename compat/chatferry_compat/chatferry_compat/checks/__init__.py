"""What would differ between this project and Chatferry: each module looks at one side of it."""

from . import access, frames, framework, logic, routes, serializers, tables


def run(project):
    """Every finding, in no order."""
    return [
        *project.setting_findings(),
        *tables.check(project),
        *routes.check(project),
        *serializers.check(project),
        *frames.check(project),
        *access.check(project),
        *logic.check(project),
        *framework.check(project),
    ]
