package redact

import (
	"strings"
	"testing"
)

func TestPasswordsAreHidden(t *testing.T) {
	for text, want := range map[string]string{
		"":                                        "",
		"dial http://10.0.0.1:2379 failed":        "dial http://10.0.0.1:2379 failed",
		"http://h/a@b":                            "http://h/a@b",
		"http://h:1/a and me@example.org":         "http://h:1/a and me@example.org",
		"http://[::1]:2379/a@b":                   "http://[::1]:2379/a@b",
		"http://me:geheim@h/x":                    "http://me:xxxxx@h/x",
		"http://geheim@h/x":                       "http://xxxxx@h/x",
		`GET "http://me:geheim@h/x": refused`:     `GET "http://me:xxxxx@h/x": refused`,
		"m1=http://a:1,m2=http://u:geheim@b:2":    "m1=http://a:1,m2=http://u:xxxxx@b:2",
		"http://u:geheim@a:1,https://v:g2@b:2":    "http://u:xxxxx@a:1,https://v:xxxxx@b:2",
		"http://u:gehe/im@h/x":                    "http://u:xxxxx@h/x",
		"http://u:gehe im@h/x":                    "http://u:xxxxx@h/x",
		"http://u:gehe@im@h/x":                    "http://u:xxxxx@h/x",
		"m1=http://a:1,m@2=http://b:2":            "m1=http://a:1,m@2=http://b:2",
		"published {ClientURLs:[http://u:p@h:1]}": "published {ClientURLs:[http://u:xxxxx@h:1]}",
	} {
		if got := Passwords(text); got != want {
			t.Errorf("Passwords(%q) = %q, want %q", text, got, want)
		}
	}
}

// FuzzPasswords: a password that is escaped as it should be is never shown, whatever stands around the URL.
func FuzzPasswords(f *testing.F) {
	f.Add("a ", "b")
	f.Add("http://", "/x@y")
	f.Add("http://u:p@", ",http://")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "s3cr3t%2Fw0rd"
		if got := Passwords(before + "http://me:" + secret + "@h" + after); strings.Contains(got, secret) {
			t.Errorf("Passwords = %q", got)
		}
	})
}

func TestPasswordsOfFlagsAreHidden(t *testing.T) {
	for text, want := range map[string]string{"": "", "x": "x", "http://a@b/c:d@e": "http://xxxxx@b/c:d@e", "u:p@h": "u:xxxxx@h", "http://u:p@q@h/": "http://u:xxxxx@h/"} {
		if got := FlagValue(text); got != want {
			t.Errorf("FlagValue(%q) = %q, want %q", text, got, want)
		}
	}
}
