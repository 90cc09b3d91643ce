package config

import (
	"canopy/config/value"
)

// row describes one flag. Exactly one of the last fields may be set; a row without any has its full effect.
type row struct {
	name  string
	value value.Value // bound to a field of the draft the table was made for
	def   string      // the default, in a form that value takes
	usage string      // what it does, and what happens at its limit
	plain string      // the default in value's own notation; filled in by newDraft

	aliasOf  string // it is another name of this flag (F14)
	refused  string // why any value but the default is refused for now
	noEffect string // why it is accepted without effect
	ignored  bool   // its value is not read: an old or v3 name (F16, F59)
	removed  bool   // an old name that must not be given (F15)
	command  Action // it asks for this instead of serving
}

// inForce reports whether the flag's value has a meaning of its own in the configuration.
func (r row) inForce() bool {
	return r.aliasOf == "" && r.refused == "" && r.noEffect == "" && !r.ignored && !r.removed && r.command == Serve
}

// setDefault puts the default into the field. All defaults parse; a test checks that.
func (r *row) setDefault() {
	if r.removed {
		return
	}
	if err := r.value.Set(r.def); err != nil {
		panic("config: the default of --" + r.name + " does not parse: " + err.Error())
	}
	r.plain = r.value.String()
}

// changed reports whether the value differs from the default.
func (r row) changed() bool { return r.value.String() != r.plain }

// group is a part of --help and of the documentation.
type group struct {
	title string
	rows  []row
}

// draft is a Config that is not complete yet: what the flags say, without aliases and derived defaults.
type draft struct {
	Config
	raw struct {
		addr, bindAddr, peerAddr, peerBindAddr string
		debug                                  bool
		logger                                 string
		hosts                                  []string
	}

	sources  map[string]Source // by flag name; absent = default
	given    map[string]string // the text given, by flag name
	defaults map[string]string // the default in the value's notation, by flag name

	begun func(Config) Begun // what the data directory was begun as; nil: it is fresh
	modes mode               // what this process may be
}

// table lists every flag, bound to the fields of d, in the order of --help.
func table(d *draft) []group {
	return []group{
		{"Member", memberRows(d)},
		{"Clustering", clusteringRows(d)},
		{"Proxy", proxyRows(d)},
		{"Security", securityRows(d)},
		{"Logging", loggingRows(d)},
		{"Limits", limitRows(d)},
		{"Profiling and monitoring", profilingRows(d)},
		{"Unsafe", unsafeRows(d)},
		{"Instead of serving", commandRows()},
		{"Old names", oldRows(d)},
	}
}

// newDraft is a draft with every default, and the table bound to it.
func newDraft() (*draft, []group) {
	d := &draft{sources: map[string]Source{}, given: map[string]string{}, defaults: map[string]string{}}
	groups := table(d)
	for _, g := range groups {
		for i := range g.rows {
			g.rows[i].setDefault()
			d.defaults[g.rows[i].name] = g.rows[i].plain
		}
	}
	return d, groups
}
