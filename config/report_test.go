package config

import (
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheSummaryHasTheWordsPeopleSearchFor(t *testing.T) { // F30
	c := mustParse(t, "--name m1 --data-dir /d --wal-dir /w --advertise-client-urls http://h:2,http://h:1", "").Config
	b, err := c.Bootstrap(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"name = m1", "data dir = /d", "member dir = /d/member", "dedicated WAL dir = /w",
		"heartbeat = 100ms", "election = 1000ms", "snapshot count = 10000", "advertise client URLs = http://h:1,http://h:2",
		"initial advertise peer URLs = http://localhost:2380,http://localhost:7001",
		"initial cluster = m1=http://localhost:2380,m1=http://localhost:7001",
	}
	if diff := cmp.Diff(want, append(c.Summary(), b.Summary()...)); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	c = mustParse(t, "--discovery http://d/t", "").Config
	if got := strings.Join(c.Summary(), "\n"); !strings.Contains(got, "\ndiscovery URL= http://d/t\n") || strings.Contains(got, "dedicated") {
		t.Errorf("summary with discovery and without a log directory:\n%s", got)
	}
}

func TestTheEffectiveConfigurationIsForShells(t *testing.T) { // F61
	text := mustParse(t, "--check-config --name it's --cors=*", "ETCD_DATA_DIR=/d").Config.Effective()
	for _, want := range []string{
		`--name='it'\''s'` + strings.Repeat(" ", 45) + "# --name",
		"--data-dir=/d" + strings.Repeat(" ", 47) + " # ETCD_DATA_DIR",
		"--cors='*'", "--wal-dir=''", "--election-timeout=1s",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("Effective() lacks %q:\n%s", want, text)
		}
	}
	for _, absent := range []string{"config-file", "--addr", "--snapshot=", "--debug", "--version"} {
		if strings.Contains(text, absent) {
			t.Errorf("Effective() shows %s, which is not in force:\n%s", absent, text)
		}
	}
}

func TestTheHelpShowsEveryFlagInAGroup(t *testing.T) { // F5
	usage := UsageText([]Command{{"discovery", "run a service"}})
	help := HelpText(usage)
	_, groups := newDraft()
	for _, g := range groups {
		if !strings.Contains(help, "\n"+g.title+":\n") {
			t.Errorf("the help has no group %q", g.title)
		}
		for _, r := range g.rows {
			if !strings.Contains(help, " --"+r.name) {
				t.Errorf("the help lacks --%s", r.name)
			}
		}
	}
	for line := range strings.Lines(help) {
		if len(line) > 120 {
			t.Errorf("a line of the help has %d columns: %s", len(line), line)
		}
	}
	if !strings.Contains(help, "  --heartbeat-interval 100ms\n") || !strings.HasPrefix(help, usage) || !strings.Contains(usage, "\n       canopy discovery …      run a service\n") {
		t.Errorf("the help lacks a default or the usage:\n%s", help)
	}
}

func TestTheVersionHasItsFourLabels(t *testing.T) { // F5
	want := "etcd Version: 2.3.8\ncanopy Version: 1.2.3\nGit SHA: abc\nGo Version: " + runtime.Version() + "\nGo OS/Arch: " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	if got := VersionText("2.3.8", "1.2.3", "abc"); got != want {
		t.Errorf("VersionText = %q, want %q", got, want)
	}
}

func TestFlagNamesAreUniqueAndVariablesToo(t *testing.T) { // F6
	_, groups := newDraft()
	seen := map[string]bool{}
	for _, g := range groups {
		for _, r := range g.rows {
			variable := strings.ToLower(strings.ReplaceAll(r.name, "-", "_"))
			if seen[variable] {
				t.Errorf("--%s comes twice", r.name)
			}
			seen[variable] = true
			if r.usage == "" || strings.TrimSpace(r.usage) != r.usage || !strings.HasSuffix(r.usage, ".") {
				t.Errorf("--%s: usage %q is not a sentence", r.name, r.usage)
			}
		}
	}
}
