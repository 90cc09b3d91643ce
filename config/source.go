package config

// Source tells where a setting came from. The zero Source is the default.
type Source struct {
	Flag     string // the flag as given, without dashes ("" unless it came from the command line)
	Variable string // the variable as given ("" unless it came from the environment)
}

// IsSet reports whether the setting was given at all, by flag or variable (F12).
func (s Source) IsSet() bool { return s != Source{} }

// String is "default", "--flag" or "ETCD_VARIABLE".
func (s Source) String() string {
	switch {
	case s.Flag != "":
		return "--" + s.Flag
	case s.Variable != "":
		return s.Variable
	}
	return "default"
}

// Setting is one effective value: what --check-config shows (F61).
type Setting struct {
	Flag   string // the flag's name, without dashes
	Value  string // in a form that the flag accepts
	Source Source
}

// Settings lists every flag that has an effect, in the order of --help.
func (c Config) Settings() []Setting { return append([]Setting(nil), c.settings...) }

// Source tells where the value of a flag came from; an old alias counts for the flag it stands for (F14).
func (c Config) Source(flag string) Source { return c.setting(flag).Source }

func (c Config) setting(flag string) Setting {
	for _, s := range c.settings {
		if s.Flag == flag {
			return s
		}
	}
	return Setting{Flag: flag}
}
