"""Many runs together: parent, identity, resume, report."""
