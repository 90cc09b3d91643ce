// Package words reads command lines as etcdctl does: which words of them are flags.
package words

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Normalize gives long flags with one dash their second one (C1). Flags may stand anywhere before "--" (C3); what follows a flag
// that takes a value is that value, whatever it looks like.
func Normalize(root *cobra.Command, args []string) []string {
	known := knownFlags(root)
	out := make([]string, 0, len(args))
	for n := 0; n < len(args); n++ {
		arg := args[n]
		if arg == "--" {
			return append(out, args[n:]...)
		}
		name, takesValue := known.named(&arg)
		out = append(out, arg)
		if takesValue && !strings.Contains(arg, "=") && name != "" && n+1 < len(args) {
			n++
			out = append(out, args[n])
		}
	}
	return out
}

// flagNames are the names of all flags, and whether each takes a value. A test shows that no name is used in both ways.
type flagNames map[string]bool

func knownFlags(root *cobra.Command) flagNames {
	names := flagNames{"help": false, "h": false, "version": false, "v": false}
	add := func(f *pflag.Flag) {
		takesValue := f.NoOptDefVal == ""
		names[f.Name] = takesValue
		if f.Shorthand != "" {
			names[f.Shorthand] = takesValue
		}
	}
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		c.Flags().VisitAll(add)
		c.PersistentFlags().VisitAll(add)
		for _, below := range c.Commands() {
			visit(below)
		}
	}
	visit(root)
	return names
}

// named finds the flag that an argument is, and adds a missing dash to it.
func (f flagNames) named(arg *string) (name string, takesValue bool) {
	text, isFlag := strings.CutPrefix(*arg, "-")
	if !isFlag || text == "" {
		return "", false
	}
	long, twoDashes := strings.CutPrefix(text, "-")
	name, _, _ = strings.Cut(long, "=")
	takesValue, known := f[name]
	switch {
	case !known:
		return "", false
	case !twoDashes && len(name) > 1:
		*arg = "-" + *arg
	}
	return name, takesValue
}

// Reordered puts the word that a shell adds, to complete a command line of canopy, behind ctl.
func Reordered(argv []string) []string {
	if len(argv) > 1 && strings.HasPrefix(argv[0], "__complete") && argv[1] == "ctl" {
		return append([]string{argv[1], argv[0]}, argv[2:]...)
	}
	return argv
}
