package store

import (
	"errors"
	"strings"
	"testing"
)

func TestParseKey(t *testing.T) {
	for _, c := range []struct {
		rule, raw, want string
		err             error
	}{
		{"K5 the root", "", "/", nil},
		{"K5 the root with a slash", "/", "/", nil},
		{"a plain key", "/a/b", "/a/b", nil},
		{"no slash before", "a/b", "/a/b", nil},
		{"K21 trailing slash", "/foo/", "/foo", nil},
		{"K20 doubled slashes", "//a///b//", "/a/b", nil},
		{"K20 dots", "/a//b/../c/./", "/a/c", nil},
		{"K20 up to the root", "/a/b/../..", "/", nil},
		{"K23 above the root", "/..", "", ErrAboveRoot},
		{"K23 above the root and down again", "/a/../../0/members", "", ErrAboveRoot},
		{"K22 dots that are names", "/.../.hidden/a.", "/.../.hidden/a.", nil},
		{"K22 literal bytes", "/a b+?#%&\"\\\x00\xff", "/a b+?#%&\"\\\x00\xff", nil},
		{"K22 case counts", "/Ab", "/Ab", nil},
		{"as deep as a node can be", strings.Repeat("/a", deepest), strings.Repeat("/a", deepest), nil},
		{"too deep", strings.Repeat("/a", deepest+1), "", ErrTooDeep},
		{"deep on the way only", strings.Repeat("/a", deepest+1) + "/..", strings.Repeat("/a", deepest), nil},
		{"R54 a name of 64 kB", "/" + strings.Repeat("n", 64<<10), "/" + strings.Repeat("n", 64<<10), nil},
	} {
		k, err := ParseKey(c.raw)
		if !errors.Is(err, c.err) || err == nil && k.String() != c.want || k.IsRoot() != (k.clean == "") {
			t.Errorf("%s: ParseKey(%.40q) = %.40q, %v, want %.40q, %v", c.rule, c.raw, k, err, c.want, c.err)
		}
	}
}

// TestParsingACleanKeyAllocatesNothing checks the keys of nearly all requests.
func TestParsingACleanKeyAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _, _ = ParseKey("/config/service/key") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParseKey compares ParseKey with the simplest form of its rules.
func FuzzParseKey(f *testing.F) {
	for _, raw := range []string{"", "/", "/a//b/../c/", "..", "a/./b", "/a/../..", "/\xff/...", "/a/b/"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var parts []string
		above := false
		for _, name := range strings.Split(raw, "/") {
			switch {
			case name == "" || name == ".":
			case name != "..":
				parts = append(parts, name)
			case len(parts) == 0:
				above = true
			default:
				parts = parts[:len(parts)-1]
			}
			if above {
				break
			}
		}
		k, err := ParseKey(raw)
		switch {
		case above && !errors.Is(err, ErrAboveRoot), !above && len(parts) > deepest && !errors.Is(err, ErrTooDeep):
			t.Fatalf("ParseKey(%q) = %q, %v", raw, k, err)
		case above || len(parts) > deepest:
			return
		case err != nil || k.String() != "/"+strings.Join(parts, "/"):
			t.Fatalf("ParseKey(%q) = %q, %v", raw, k, err)
		}
		if again, err := ParseKey(k.String()); err != nil || again != k {
			t.Fatalf("ParseKey(%q) = %q, %v", k, again, err)
		}
	})
}
