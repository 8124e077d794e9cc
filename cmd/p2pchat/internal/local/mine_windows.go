package local

import "io/fs"

// mine says whether a file is this user's: on Windows, access lists do.
func mine(fs.FileInfo) bool { return true }
