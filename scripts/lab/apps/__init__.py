"""The two applications, Laravel's and the Task Service's, and Laravel's code as a git checkout."""
