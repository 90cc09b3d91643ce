package tree

import "strings"

// IsName reports whether s can be one component of a path.
func IsName(s string) bool {
	return s != "" && s != "." && s != ".." && strings.IndexByte(s, '/') < 0
}

// CutName splits "/a/b/c" into "a" and "/b/c". The path must not be that of the root.
func CutName(path string) (name, rest string) {
	if i := strings.IndexByte(path[1:], '/'); i >= 0 {
		return path[1 : i+1], path[i+1:]
	}
	return path[1:], ""
}

// SplitLast splits "/a/b/c" into "/a/b" and "c". The path must not be that of the root.
func SplitLast(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:i], path[i+1:]
}

// IsBelow reports whether path lies strictly below dir, by components: /foobar is not below /foo (K98).
func IsBelow(path, dir string) bool {
	return len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}
