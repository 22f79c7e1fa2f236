"""The command line; imports nothing here, so that signal handlers are set before slow imports."""
