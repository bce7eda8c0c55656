"""What a plug-in of yours promises, checked: the same checks that every plug-in of Millrace has to pass.

    pytest -p millrace.testing.pytest_plugin --pyargs millrace.testing --plugin my_package.my_world
    python -m millrace.testing my_package.my_world          # the same

The kind is found from what the module has; `environment:my_package.my_world` says it. `--plugin-settings` gives the settings
that it cannot do without: YAML, or a file of it. One file in `kinds/` is one kind of plug-in with its promises; `material` holds
pictures, failures and questions to try them on, and `fakes` stands in for what a machine may lack.
"""
