//! Routes: the side of kvmalloc that a request must take (LWN 2017).

/// The side of kvmalloc that a request must take, whatever the policy would choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Route {
    /// The decision procedure of R5.1.
    #[default]
    Policy,
    /// The slab side where it can ever serve the request, without falling back.
    Slab,
    /// The vmalloc side where the caller may use it.
    Vmalloc,
}

/// The names of the routes.
pub const ROUTES: &[(&str, Route)] =
    &[("policy", Route::Policy), ("slab", Route::Slab), ("vmalloc", Route::Vmalloc)];

impl Route {
    /// Its name in a trace.
    pub fn name(self) -> &'static str {
        ROUTES[self as usize].0
    }
}
