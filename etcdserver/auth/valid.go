package auth

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

func compare[T cmp.Ordered](a, b T) int { return cmp.Compare(a, b) }

// nameMax is the length of a name, at most, in bytes.
const nameMax = 255

// validName tells whether something may be a name (A53). The name of a user also stands before a colon.
func validName(name string, ofUser bool) bool {
	return name != "" && len(name) <= nameMax && utf8.ValidString(name) && name != "." && name != ".." &&
		!strings.Contains(name, "/") && !strings.ContainsFunc(name, unicode.IsControl) && (!ofUser || !strings.Contains(name, ":"))
}

func checkUserName(name string) error {
	if !validName(name, true) {
		return &Error{Invalid, fmt.Sprintf("auth: Invalid user name %.300q", name)}
	}
	return nil
}

func checkRoleNames(names ...string) error {
	for _, name := range names {
		if !validName(name, false) {
			return &Error{Invalid, fmt.Sprintf("auth: Invalid role name %.300q", name)}
		}
	}
	return nil
}

// checkPatterns accepts patterns that can match a key (A36).
func checkPatterns(all ...string) error {
	for _, p := range all {
		if !validPattern(p) {
			return &Error{Invalid, fmt.Sprintf("auth: Invalid permission pattern %.300q", p)}
		}
	}
	return nil
}

func validPattern(p string) bool {
	if p == "*" || p == "/" {
		return true
	}
	if !strings.HasPrefix(p, "/") || strings.ContainsFunc(p, unicode.IsControl) {
		return false
	}
	for segment := range strings.SplitSeq(p[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}
