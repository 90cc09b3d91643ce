package store

import (
	"errors"
	"strings"
)

// MaxDepth is the most components that the key of a command may have. It is far beyond any tree people build, and low
// enough that the one answer whose size grows with its square, a recursive listing of a single deep chain, stays below
// 300 MB. It is a part of the format of the log: members of all versions agree on it.
const MaxDepth = 16_384

// deepest is the most components that a node can have: an older version took a POST into a directory of MaxDepth, so a
// log or a snapshot may hold the child. It can be read, and is deleted with its directory.
const deepest = MaxDepth + 1

// OrderedNameBytes is the length of each name that CreateInOrder makes.
const OrderedNameBytes = 20

// ErrAboveRoot is ParseKey's answer to a path whose ".." components climb over the root (K23).
var ErrAboveRoot = errors.New("store: the path climbs above the root")

// ErrTooDeep is ParseKey's answer to a path that still has more components than any node once it is clean, and
// EncodeCommand's to a command whose node would be deeper than MaxDepth.
var ErrTooDeep = errors.New("store: the path has too many components")

// Key is the clean, absolute path of a node. Only ParseKey makes one, so whoever holds a Key holds a valid one; the
// zero Key is the root. Keys are byte strings: case counts, and nothing is assumed about their encoding (K22, K130).
type Key struct {
	clean string // "" for the root, else "/a/b": a slash before each component, none at the end
}

// ParseKey cleans a decoded path below /v2/keys as K20 to K23 say: empty and "." components go, ".." takes the
// component before it along, a trailing slash is dropped. Every other byte is literal. A path that is clean already
// is not copied.
func ParseKey(raw string) (Key, error) {
	clean := raw
	if !isClean(raw) {
		var ok bool
		if clean, ok = cleanPath(raw); !ok {
			return Key{}, ErrAboveRoot
		}
	}
	key := Key{clean: clean}
	if key.Depth() > deepest {
		return Key{}, ErrTooDeep
	}
	return key, nil
}

// String is the key as clients see it: "/" for the root.
func (k Key) String() string {
	if k.clean == "" {
		return "/"
	}
	return k.clean
}

// Depth is the number of components; the root has none.
func (k Key) Depth() int { return strings.Count(k.clean, "/") }

// Bytes is the length of the key; the root has none.
func (k Key) Bytes() int { return len(k.clean) }

// IsRoot reports whether k is the root of the tree.
func (k Key) IsRoot() bool { return k.clean == "" }

// isClean reports whether raw is the clean form of a key.
func isClean(raw string) bool {
	for rest := raw; rest != ""; {
		if rest[0] != '/' {
			return false
		}
		var name string
		if name, rest = cutName(rest); !isName(name) {
			return false
		}
	}
	return true
}

// cleanPath resolves empty, "." and ".." components; ok is false when the path leaves the root.
func cleanPath(raw string) (clean string, ok bool) {
	out := make([]byte, 0, len(raw)+1)
	for name := range strings.SplitSeq(raw, "/") {
		switch name {
		case "", ".":
		case "..":
			if len(out) == 0 {
				return "", false
			}
			for out[len(out)-1] != '/' {
				out = out[:len(out)-1]
			}
			out = out[:len(out)-1]
		default:
			out = append(append(out, '/'), name...)
		}
	}
	return string(out), true
}

// isName reports whether s can be one component of a key.
func isName(s string) bool {
	return s != "" && s != "." && s != ".." && strings.IndexByte(s, '/') < 0
}

// isHidden reports whether a node of this name is left out of listings (K75).
func isHidden(name string) bool { return name != "" && name[0] == '_' }

// cutName splits "/a/b/c" into "a" and "/b/c". Its argument is a non-empty clean path.
func cutName(path string) (name, rest string) {
	if i := strings.IndexByte(path[1:], '/'); i >= 0 {
		return path[1 : i+1], path[i+1:]
	}
	return path[1:], ""
}

// splitLast splits the non-empty clean path "/a/b/c" into "/a/b" and "c".
func splitLast(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:i], path[i+1:]
}

// isBelow reports whether the clean path p lies strictly below dir, by components: /foobar is not below /foo (K98).
func isBelow(p, dir string) bool {
	return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}
