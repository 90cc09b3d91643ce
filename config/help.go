package config

import (
	"fmt"
	"runtime"
	"strings"
)

// helpWidth is the column at which help lines are broken.
const helpWidth = 100

// Command is a word that may begin the command line, and what it does.
type Command struct {
	Name, Summary string
}

// UsageText is the short usage that follows a command line fault on standard output (F3).
func UsageText(commands []Command) string {
	lines := []Command{
		{"--version", "show the version"},
		{"--check-config", "check flags and variables, and show what they come to"},
		{"--help", "show all flags"},
	}
	for _, c := range commands {
		lines = append(lines, Command{c.Name + " …", c.Summary})
	}
	var b strings.Builder
	b.WriteString("usage: canopy [flags]\n")
	for _, l := range lines {
		fmt.Fprintf(&b, "       canopy %-16s %s\n", l.Name, l.Summary)
	}
	return b.String()
}

// HelpText is what --help prints (F5): the short usage, then every flag with its default, in groups.
func HelpText(usage string) string {
	_, groups := newDraft()
	var b strings.Builder
	b.WriteString(usage)
	b.WriteString("\nEach flag has a variable: --data-dir is ETCD_DATA_DIR. A flag wins over its variable, an empty variable\n" +
		"counts as not set. -flag and --flag are the same. Times are milliseconds, or 100ms, 1s, 5m; sizes are\n" +
		"bytes, or 64KiB, 16MiB, 1GiB.\n")
	for _, g := range groups {
		fmt.Fprintf(&b, "\n%s:\n", g.title)
		var ignored []string
		for _, r := range g.rows {
			if r.ignored {
				ignored = append(ignored, "--"+r.name)
				continue
			}
			b.WriteString(r.help())
		}
		if len(ignored) > 0 {
			fmt.Fprintf(&b, "  accepted and ignored\n%s", wrap(strings.Join(append(ignored, ignoredPatterns()...), " ")))
		}
	}
	return b.String()
}

// VersionText is what --version prints (F5), first the release of etcd whose API this is; scripts cut its lines at the
// colon.
func VersionText(api, version, gitSHA string) string {
	return fmt.Sprintf("etcd Version: %s\ncanopy Version: %s\nGit SHA: %s\nGo Version: %s\nGo OS/Arch: %s/%s\n",
		api, version, gitSHA, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// help is the entry of one flag.
func (r row) help() string {
	head := "  --" + r.name
	if r.command == Serve && !r.removed {
		head += " " + quoted(r.plain)
	}
	text := r.meaning()
	if r.hasRange() {
		text += " Allowed: " + r.value.Allowed() + "."
	}
	return head + "\n" + wrap(strings.ReplaceAll(text, "`", ""))
}

// hasRange reports whether the help says which values are allowed.
func (r row) hasRange() bool {
	return r.command == Serve && !r.removed && r.refused == "" && r.value.Type() != "bool"
}

// meaning is what the help and the documentation say about a flag, and whether it has an effect.
func (r row) meaning() string {
	switch {
	case r.aliasOf != "":
		return r.usage + " Stands for --" + r.aliasOf + "."
	case r.removed:
		return r.usage + " No longer supported: refused."
	case r.refused != "":
		return r.usage + " Refused for now: " + r.refused + "."
	case r.noEffect != "":
		return r.usage + " Accepted without effect: " + r.noEffect + "."
	}
	return r.usage
}

// ignoredPatterns are the names that are ignored by prefix, as people write them.
func ignoredPatterns() []string {
	var patterns []string
	for _, prefix := range ignoredPrefixes() {
		patterns = append(patterns, "--"+prefix+"*")
	}
	return patterns
}

// wrap breaks text into indented lines.
func wrap(text string) string {
	const indent = "        "
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > helpWidth && line != indent {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	return b.String() + line + "\n"
}
