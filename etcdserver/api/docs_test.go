package api

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"canopy/internal/httpserver"
)

// TestManualIsTrue runs the shell examples of docs/api.md in order, and compares their output with the block that follows.
func TestManualIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, Options{}, httpserver.Options{})
	block := regexp.MustCompile("(?ms)^```sh\n(.*?)^```\n(?:```json\n(.*?)^```\n)?")
	examples := block.FindAllStringSubmatch(string(text), -1)
	if len(examples) < 15 {
		t.Fatalf("docs/api.md has only %d examples; the test reads it wrongly", len(examples))
	}
	for _, example := range examples {
		script, want := example[1], example[2]
		if strings.HasPrefix(script, "E=") {
			continue
		}
		cmd := exec.Command("sh", "-euc", script)
		cmd.Env = append(os.Environ(), "E=http://"+s.addr)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		got, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v %s", script, err, stderr.String())
		}
		pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(want), "…", `[^"]*`) + "$"
		if !regexp.MustCompile(pattern).Match(got) {
			t.Errorf("%sprints\n%swant\n%s", script, got, want)
		}
	}
}
