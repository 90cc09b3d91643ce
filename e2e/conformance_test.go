package e2e

import (
	"context"
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var suite = flag.String("conformance", "../../shared/conformance", "directory of the black-box suite recorded from the reference")

// long is for what takes processor time, and seldom tells more.
var long = flag.Bool("long", false, "run the suite against each of three members, and against the program for 32 bits, too")

// leftOut are scenarios by file and title: one records a fault of the reference
// and contradicts improved.txt (K72).
var leftOut = map[string]*regexp.Regexp{
	"root.txt": regexp.MustCompile(`^the root cannot be deleted conditionally$`),
}

// TestConformance runs the recorded conversations against the built program.
func TestConformance(t *testing.T) {
	parallel(t)
	if _, err := os.Stat(*suite); err != nil {
		t.Skipf("the suite is not here: %v", err)
	}
	scenarios, left := servedScenarios(t, leftOut)
	// The suite expects history to be as short as the reference's (K95).
	runSuite(t, newServer(t, "--history-events", "1000").start(), scenarios)
	t.Logf("left out: %d scenarios", left)
}

// servedScenarios copies the suite's scenarios but for those to be left out,
// and counts these.
func servedScenarios(t *testing.T, out map[string]*regexp.Regexp) (dir string, left int) {
	t.Helper()
	dir = t.TempDir()
	files, err := filepath.Glob(filepath.Join(*suite, "scenarios", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios in %s: %v", *suite, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		kept, dropped := filterScenarios(string(text), out[name])
		left += dropped
		if err := os.WriteFile(filepath.Join(dir, name), []byte(kept), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, left
}

// filterScenarios leaves out the scenarios whose title matches.
func filterScenarios(text string, out *regexp.Regexp) (kept string, dropped int) {
	if out == nil {
		return text, 0
	}
	parts := strings.Split(text, "\n=== ")
	keep := parts[:1]
	for _, part := range parts[1:] {
		title, _, _ := strings.Cut(part, "\n")
		if title != "before each" && title != "after each" && out.MatchString(title) {
			dropped++
			continue
		}
		keep = append(keep, part)
	}
	return strings.Join(keep, "\n=== "), dropped
}

// alone are scenarios that expect a member that is the only one, and so leads
// and exchanges no messages.
var alone = map[string]*regexp.Regexp{
	"auth-enabled.txt": regexp.MustCompile(`^statistics and the version are open to all$`),
	"members.txt":      regexp.MustCompile(`^(the list of members|a slash at the end of the list)$`),
	"server.txt":       regexp.MustCompile(`^the machines$`),
	"stats.txt":        regexp.MustCompile(`^(self|leader)$`),
}

// TestConformanceOfAnyMember runs the conversations against a follower, with
// -long against each of three members, and against one while another is down.
func TestConformanceOfAnyMember(t *testing.T) {
	parallel(t)
	if _, err := os.Stat(*suite); err != nil {
		t.Skipf("the suite is not here: %v", err)
	}
	out := maps.Clone(leftOut)
	maps.Copy(out, alone)
	scenarios, _ := servedScenarios(t, out)
	c := newCluster(t, 3, "--history-events", "1000")
	leader := c.leader()
	asked := c.others(leader)[:1]
	if *long {
		asked = c.members
	}
	for _, s := range asked {
		runSuite(t, s, scenarios)
	}
	c.others(leader)[0].kill()
	runSuite(t, leader, scenarios)
}

// runSuite runs the suite against one server.
func runSuite(t *testing.T, s *server, scenarios string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "go", "run", ".", "-endpoint", s.client, "-scenarios", scenarios)
	command.Dir = *suite
	out, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", s.name, err, out)
	}
	t.Logf("%s: %s", s.name, strings.TrimSpace(tail(string(out), 2)))
}
