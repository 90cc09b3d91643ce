//go:build !unix

package disk

import "os"

// modesMatter is whether permission bits say who may read a directory.
const modesMatter = false

// tryLock cannot tell here whether another process has the file: the operator must.
func tryLock(*os.File) (bool, error) { return true, nil }

// syncDir has nothing to do where directories cannot be synced.
func syncDir(string) error { return nil }

func isNoSpace(error) bool { return false }

func isScarce(error) bool { return false }
