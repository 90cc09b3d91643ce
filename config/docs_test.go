package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the tables in docs/configuration.md")

const manual = "../docs/configuration.md"

// TestTheManualKnowsEveryFlag compares each table of the manual, which stands between two markers with its group's
// title, with what the table of flags says (F60). Run with -rewrite to bring the manual up to date, and read the diff.
func TestTheManualKnowsEveryFlag(t *testing.T) {
	data, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	_, groups := newDraft()
	for _, g := range groups {
		begin, end := fmt.Sprintf("<!-- flags: %s -->\n", g.title), fmt.Sprintf("<!-- end: %s -->\n", g.title)
		before, rest, found := strings.Cut(text, begin)
		got, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Errorf("the manual has no place for the group %q: want %s%s", g.title, begin, end)
			continue
		}
		want := manualTable(g)
		if got != want && !*rewrite {
			t.Errorf("the manual's table of %q is out of date; run go test ./config -rewrite\ngot\n%s\nwant\n%s", g.title, got, want)
		}
		text = before + begin + want + end + after
	}
	if *rewrite {
		if err := os.WriteFile(manual, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheManualsExamplesAreReal checks what the manual says is printed, and its systemd unit.
func TestTheManualsExamplesAreReal(t *testing.T) {
	data, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	faults := faultsOf(t, "--heartbeat-interval 300 --listen-client-urls http://10.0.0.1:2379", "ETCD_WATCH_QUEUE=0")
	effective := mustParse(t, "--check-config --data-dir /srv/canopy", "ETCD_NAME=m1").Config.Effective()
	shown := strings.Split(faults.Error(), "\n")
	shown = append(shown, strings.SplitAfterN(effective, "\n", 3)[:2]...)
	for _, line := range shown {
		if line = "    " + strings.TrimSuffix(line, "\n") + "\n"; !strings.Contains(text, line) {
			t.Errorf("the manual lacks the line\n%s", line)
		}
	}
	var environ []string
	for line := range strings.Lines(text) {
		if variable, ok := strings.CutPrefix(line, "Environment="); ok {
			environ = append(environ, strings.TrimSpace(variable))
		}
	}
	in, err := Parse([]string{"--check-config"}, environ, nil)
	if err != nil || len(environ) == 0 {
		t.Fatalf("the unit's %d variables: %v", len(environ), err)
	}
	for _, n := range in.Notes {
		if n.Warning {
			t.Errorf("the unit causes a warning: %s", n.Text)
		}
	}
}

// manualTable is a group's flags with variable, default, range and meaning, and a line of those that are ignored.
func manualTable(g group) string {
	var b strings.Builder
	var ignored []string
	b.WriteString("| flag | variable | default | allowed | meaning, and what happens at the limit |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range g.rows {
		if r.ignored {
			ignored = append(ignored, "`--"+r.name+"`")
			continue
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s | %s | %s |\n", r.name, manualVariable(r), manualDefault(r), manualRange(r), r.meaning())
	}
	if len(ignored) > 0 {
		for _, pattern := range ignoredPatterns() {
			ignored = append(ignored, "`"+pattern+"`")
		}
		fmt.Fprintf(&b, "\nAccepted and ignored, with a warning: %s.\n", strings.Join(ignored, ", "))
	}
	return b.String()
}

func manualVariable(r row) string {
	if r.command != Serve {
		return "–"
	}
	return "`ETCD_" + strings.ToUpper(strings.ReplaceAll(r.name, "-", "_")) + "`"
}

func manualDefault(r row) string {
	switch {
	case r.command != Serve || r.removed:
		return "–"
	case r.plain == "":
		return "empty"
	}
	return "`" + r.plain + "`"
}

func manualRange(r row) string {
	switch {
	case r.hasRange():
		return r.value.Allowed()
	case r.command != Serve || r.removed:
		return "–"
	case r.refused != "":
		return "the default"
	}
	return "true or false"
}
