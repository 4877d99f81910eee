"""What is carried: the manifest, the recipients, enrolments, and the medium they travel on."""
