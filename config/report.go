package config

import (
	"fmt"
	"strings"

	"canopy/internal/redact"
)

// Summary is the lines to log at every start, in order, with the words people search for (F30). Bootstrap.Summary has
// those of a first start.
func (c Config) Summary() []string {
	lines := []string{
		"name = " + c.Name,
		"data dir = " + c.DataDir,
		"member dir = " + c.MemberDir(),
	}
	if c.WALDir != "" {
		lines = append(lines, "dedicated WAL dir = "+c.WALDir)
	}
	lines = append(lines,
		fmt.Sprintf("heartbeat = %dms", c.Raft.Heartbeat.Milliseconds()),
		fmt.Sprintf("election = %dms", c.Raft.Election.Milliseconds()),
		fmt.Sprintf("snapshot count = %d", c.Storage.SnapshotCount),
	)
	if c.Discovery.URL != "" {
		lines = append(lines, "discovery URL= "+redact.FlagValue(c.Discovery.URL))
	}
	return append(lines, "advertise client URLs = "+c.AdvertiseClientURLs.String())
}

// Effective is every setting in force and where it came from, one line each, in the order of --help (F61). The part
// before the source can be given to a shell as a flag.
func (c Config) Effective() string {
	var b strings.Builder
	for _, s := range c.settings {
		fmt.Fprintf(&b, "%-60s # %s\n", "--"+s.Flag+"="+quoted(redact.FlagValue(s.Value)), s.Source)
	}
	return b.String()
}

// quoted is text in single quotes, if a shell would split or change it.
func quoted(text string) string {
	if text != "" && !strings.ContainsAny(text, " \t\n'\"\\*?[]{}()<>|&;$`#~!") {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
