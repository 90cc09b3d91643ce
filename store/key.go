package store

import (
	"errors"
	"strings"

	"canopy/store/tree"
)

// MaxDepth is the most components that the key of a command may have. No tree that people build is as deep. The size of one
// answer grows with the square of the depth, the recursive listing of a single chain of directories; with this limit it stays
// below 300 MB. MaxDepth is part of the format of the log: members of all versions agree on it.
const MaxDepth = 16_384

// deepest is the most components that a node can have. An older version accepted a POST into a directory of MaxDepth, so a
// log or a snapshot may have the child. It can be read, and is deleted with its directory.
const deepest = MaxDepth + 1

// OrderedNameBytes is the length of each name that CreateInOrder makes.
const OrderedNameBytes = 20

// ErrAboveRoot is ParseKey's error for a path whose ".." components lead above the root (K23).
var ErrAboveRoot = errors.New("store: the path climbs above the root")

// ErrTooDeep is ParseKey's error for a path that, once it is clean, has more components than any node, and EncodeCommand's
// for a command whose node would be deeper than MaxDepth.
var ErrTooDeep = errors.New("store: the path has too many components")

// Key is the clean, absolute path of a node. Only ParseKey makes one, so every Key is valid. The zero Key is the root. Keys
// are strings of bytes: upper and lower case differ, and any encoding is allowed (K22, K130).
type Key struct {
	clean string // "" for the root, else "/a/b": a slash before each component, none at the end
}

// ParseKey cleans a decoded path below /v2/keys as K20 to K23 say. It drops empty and "." components, a trailing slash, and
// each ".." with the component before it. All other bytes are literal. It does not copy a path that is clean already.
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

// Depth is the number of components; that of the root is 0.
func (k Key) Depth() int { return strings.Count(k.clean, "/") }

// Bytes is the length of the key; that of the root is 0.
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
		if name, rest = tree.CutName(rest); !tree.IsName(name) {
			return false
		}
	}
	return true
}

// cleanPath resolves empty, "." and ".." components. ok is false if the path leads above the root.
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

// isHidden reports whether listings omit a node of this name (K75).
func isHidden(name string) bool { return name != "" && name[0] == '_' }
