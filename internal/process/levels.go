package process

import (
	"fmt"
	"strings"

	"github.com/sirupsen/logrus"
)

// mainPackage is the name of lines without one.
const mainPackage = "etcdmain"

// packageLevels is a formatter that drops the lines below the level of their
// package (S41). The level of the logger itself is the most verbose of all.
type packageLevels struct {
	logrus.Formatter
	usual  logrus.Level
	levels map[string]logrus.Level
}

// Format gives no bytes for a line that is dropped.
func (p packageLevels) Format(e *logrus.Entry) ([]byte, error) {
	name, named := e.Data["pkg"].(string)
	if !named {
		name = mainPackage
	}
	limit, set := p.levels[name]
	if !set {
		limit = p.usual
	}
	if e.Level > limit {
		return nil, nil
	}
	return p.Formatter.Format(e)
}

// setPackageLevels takes the text of the flag. If it is wrong, an error is
// returned and no level changes.
func setPackageLevels(logger *logrus.Logger, text string) error {
	if text == "" {
		return nil
	}
	p := packageLevels{Formatter: logger.Formatter, usual: logger.GetLevel(), levels: map[string]logrus.Level{}}
	most := p.usual
	for part := range strings.SplitSeq(text, ",") {
		name, word, found := strings.Cut(part, "=")
		level, err := capnslogLevel(word)
		if !found || err != nil {
			return fmt.Errorf("couldn't parse log level string: %s, continuing with default levels", text)
		}
		if name == "*" {
			p.usual = level
		} else {
			p.levels[name] = level
		}
		most = max(most, level)
	}
	logger.SetFormatter(p)
	logger.SetLevel(most)
	return nil
}

// SetLevel sets one level for all packages (S36).
func (p *Process) SetLevel(name string) error {
	level, err := logrus.ParseLevel(name)
	if err != nil {
		return err
	}
	setLevel(p.Log, level)
	p.Log.Infof("globalLogLevel set to %q", name)
	return nil
}

func setLevel(logger *logrus.Logger, level logrus.Level) {
	if p, ok := logger.Formatter.(packageLevels); ok {
		logger.SetFormatter(p.Formatter)
	}
	logger.SetLevel(level)
}

// capnslogLevel reads the name of a level, those of etcd 2.3 included.
func capnslogLevel(word string) (logrus.Level, error) {
	switch strings.ToUpper(word) {
	case "CRITICAL":
		return logrus.FatalLevel, nil
	case "NOTICE":
		return logrus.InfoLevel, nil
	}
	return logrus.ParseLevel(word)
}
