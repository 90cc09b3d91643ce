// Package manual writes the manual pages of commands, from the texts that --help shows.
package manual

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"canopy/ctl/command"
)

// Commands is man.
func Commands(_ *command.Host) []*cobra.Command {
	return []*cobra.Command{{Use: "man DIR", Short: "Write a manual page for each command into a directory", RunE: func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return command.Usage("one directory is needed")
		}
		if err := writeAll(c.Root(), args[0]); err != nil {
			return command.Usage("%w", err)
		}
		return nil
	}}}
}

// writeAll writes the pages of a command and of those below it.
func writeAll(c *cobra.Command, dir string) error {
	name := filepath.Join(dir, pageName(c)+".1")
	if err := os.WriteFile(name, []byte(page(c)), 0o644); err != nil {
		return err
	}
	for _, below := range visible(c) {
		if err := writeAll(below, dir); err != nil {
			return err
		}
	}
	return nil
}

func visible(c *cobra.Command) (all []*cobra.Command) {
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() && !below.IsAdditionalHelpTopicCommand() {
			all = append(all, below)
		}
	}
	return all
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// page is the text for man.
func page(c *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH \"%s\" 1\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %s\n", escaped(strings.ToUpper(pageName(c))), escaped(pageName(c)), escaped(c.Short), escaped(c.UseLine()))
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	b.WriteString(".SH DESCRIPTION\n.nf\n" + escaped(text) + "\n.fi\n")
	flags(&b, "OPTIONS", c.NonInheritedFlags())
	flags(&b, "GLOBAL OPTIONS", c.InheritedFlags())
	if below := visible(c); len(below) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, one := range below {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s; see %s(1)\n", escaped(one.Name()), escaped(one.Short), escaped(pageName(one)))
		}
	}
	return b.String()
}

func flags(b *strings.Builder, head string, set *pflag.FlagSet) {
	if !set.HasAvailableFlags() {
		return
	}
	b.WriteString(".SH " + head + "\n")
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", escaped(strings.TrimSpace(name+" "+kind)), escaped(usage))
	})
}

// escaped is a text that roff shows as it is.
func escaped(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for n, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[n] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
