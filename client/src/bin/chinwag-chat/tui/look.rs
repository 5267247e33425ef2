//! Colours and weights: few, the terminal's own, on the terminal's own background, so that dark and light ones show them. Nothing is said by
//! colour alone; `NO_COLOR` is respected.

use ratatui::style::{Color, Modifier, Style};

/// How things look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    colours: bool,
}

impl Look {
    /// Uses colours unless `NO_COLOR` is set (<https://no-color.org>).
    pub fn of_environment() -> Self {
        Self { colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn coloured(self, colour: Color, modifier: Modifier) -> Style {
        let style = Style::default().add_modifier(modifier);
        if self.colours { style.fg(colour) } else { style }
    }

    /// Others' names.
    pub fn name(self) -> Style {
        Style::default().add_modifier(Modifier::BOLD)
    }

    /// One's own name.
    pub fn own(self) -> Style {
        self.coloured(Color::Cyan, Modifier::BOLD)
    }

    /// What matters less.
    pub fn dim(self) -> Style {
        Style::default().add_modifier(Modifier::DIM)
    }

    /// What is new or read.
    pub fn accent(self) -> Style {
        self.coloured(Color::Cyan, Modifier::empty())
    }

    pub fn online(self) -> Style {
        self.coloured(Color::Green, Modifier::empty())
    }

    pub fn error(self) -> Style {
        self.coloured(Color::Red, Modifier::empty())
    }

    pub fn heading(self) -> Style {
        Style::default().add_modifier(Modifier::BOLD)
    }

    pub fn selected(self) -> Style {
        Style::default().add_modifier(Modifier::REVERSED)
    }

    pub fn unread(self) -> Style {
        self.coloured(Color::Cyan, Modifier::BOLD)
    }

    /// A banner that asks to be seen.
    pub fn banner(self) -> Style {
        Style::default().add_modifier(Modifier::REVERSED)
    }
}
