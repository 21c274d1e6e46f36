"""Operations and bytes of a step + measured efficiency -> SpeedEstimate with a range. Pure."""
