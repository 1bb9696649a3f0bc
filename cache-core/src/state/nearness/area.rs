//! Where things are, and where they are looked for.

/// Longitudes go from minus this to this, in degrees.
pub const LONGITUDE_MAX: f64 = 180.0;
/// Latitudes go from minus this to this, in degrees: nearer to the poles, Redis has no geohash.
pub const LATITUDE_MAX: f64 = 85.051_128_78;
/// Furthest that is searched, in meters: around the earth.
pub const REACH_MAX: f64 = 40_075_017.0;

/// A place on earth, in degrees (WGS 84).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    longitude: f64,
    latitude: f64,
}

/// Where a search begins.
#[derive(Debug, Clone, PartialEq)]
pub enum Middle {
    /// anywhere
    Point(Point),
    /// where this member is; it finds itself too
    Member(String),
}

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Area {
    /// whatever is so near
    Circle {
        /// in the unit that is asked for
        radius: f64,
    },
    /// a box along the meridians, around where the search begins
    Box {
        /// from west to east
        width: f64,
        /// from south to north
        height: f64,
    },
}

/// In which unit distances are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// meters
    #[default]
    Meters,
    /// kilometers
    Kilometers,
    /// miles
    Miles,
    /// feet
    Feet,
}

/// What is no place, or no area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlace {
    /// out of bounds, or no number
    #[error("longitude must be from -{LONGITUDE_MAX} to {LONGITUDE_MAX}")]
    Longitude,
    /// out of bounds, or no number
    #[error("latitude must be from -{LATITUDE_MAX} to {LATITUDE_MAX}")]
    Latitude,
    /// nothing, or more than [`REACH_MAX`]
    #[error("radius, width and height must be more than 0, and at most {REACH_MAX} meters")]
    Reach,
}

impl Point {
    /// A place.
    ///
    /// # Errors
    /// If there is no such place.
    pub fn new(longitude: f64, latitude: f64) -> Result<Self, InvalidPlace> {
        if !(-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&longitude) {
            return Err(InvalidPlace::Longitude);
        }
        if !(-LATITUDE_MAX..=LATITUDE_MAX).contains(&latitude) {
            return Err(InvalidPlace::Latitude);
        }
        Ok(Self { longitude, latitude })
    }

    /// Degrees to the east.
    #[must_use]
    pub fn longitude(self) -> f64 {
        self.longitude
    }

    /// Degrees to the north.
    #[must_use]
    pub fn latitude(self) -> f64 {
        self.latitude
    }
}

impl Area {
    /// Whatever is so near.
    ///
    /// # Errors
    /// If that is nothing, or too far.
    pub fn circle(radius: f64, unit: Unit) -> Result<Self, InvalidPlace> {
        reach(radius, unit).map(|radius| Self::Circle { radius })
    }

    /// A box around where the search begins.
    ///
    /// # Errors
    /// If it is none, or too large.
    pub fn rectangle(width: f64, height: f64, unit: Unit) -> Result<Self, InvalidPlace> {
        Ok(Self::Box { width: reach(width, unit)?, height: reach(height, unit)? })
    }
}

impl Unit {
    /// As Redis calls it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meters => "m",
            Self::Kilometers => "km",
            Self::Miles => "mi",
            Self::Feet => "ft",
        }
    }

    /// As Redis counts it.
    fn meters(self) -> f64 {
        match self {
            Self::Meters => 1.0,
            Self::Kilometers => 1_000.0,
            Self::Miles => 1_609.34,
            Self::Feet => 0.3048,
        }
    }
}

fn reach(length: f64, unit: Unit) -> Result<f64, InvalidPlace> {
    // A thousandth of a millimeter: less would be written as a number that Redis does not read.
    let meters = length * unit.meters();
    if (1e-6..=REACH_MAX).contains(&meters) { Ok(length) } else { Err(InvalidPlace::Reach) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_areas_keep_their_bounds() {
        assert!(Point::new(-180.0, 85.051_128_78).is_ok());
        assert_eq!(Point::new(180.1, 0.0), Err(InvalidPlace::Longitude));
        assert_eq!(Point::new(f64::NAN, 0.0), Err(InvalidPlace::Longitude));
        assert_eq!(Point::new(0.0, 86.0), Err(InvalidPlace::Latitude));
        assert_eq!(Point::new(0.0, f64::INFINITY), Err(InvalidPlace::Latitude));
        assert_eq!(Area::circle(1.5, Unit::Kilometers), Ok(Area::Circle { radius: 1.5 }));
        for radius in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9] {
            assert_eq!(Area::circle(radius, Unit::Feet), Err(InvalidPlace::Reach), "{radius}");
        }
        assert!(Area::circle(40_000.0, Unit::Kilometers).is_ok());
        assert_eq!(Area::rectangle(40_000.0, 40_000.0, Unit::Miles), Err(InvalidPlace::Reach));
    }
}
